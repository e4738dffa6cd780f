// SPDX-License-Identifier: Apache-2.0
#pragma once
// The running server, as its successor sees it (steps: handover.hpp). Each step waits for its
// reply, at most kStepMax. Until step_down() has succeeded, destroying this leaves the predecessor
// serving as before. One thread.

#include <sys/types.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "lifecycle/limits.hpp"
#include "lifecycle/self_report.hpp"

namespace mc::lifecycle {

class Predecessor {
 public:
  /// The server of the database at this path; null if there is none.
  static Result<std::unique_ptr<Predecessor>> find(const std::string& database_path,
                                                   const Patience& patience = {});

  [[nodiscard]] pid_t pid() const { return pid_; }

  /// Its report of itself; waits at most kAboutMax. An error from a version without it, and while
  /// another successor is connected.
  Result<SelfReport> self_report();
  /// Its listening sockets: proxied listeners and admin API. It still accepts from them.
  Result<std::vector<Fd>> sockets();
  /// Closes its database: it takes no more changes and no more clients of the API.
  Result<void> release_database();
  /// Stops its accepting: clients wait in the sockets' queues.
  Result<void> stop_accepting();
  /// Ends its service: it finishes its sessions and ends. After a success this process is the
  /// server; after an error the predecessor is, or will be again. Passes it the socket where it is
  /// reached meanwhile (draining_place.hpp), so call it before this process is confined.
  Result<void> step_down();

 private:
  Predecessor(std::string database_path, Fd socket, pid_t pid, const Patience& patience)
      : database_path_(std::move(database_path)),
        socket_(std::move(socket)),
        pid_(pid),
        patience_(patience) {}

  Result<void> request(std::string_view what, std::vector<Fd>& descriptors,
                       const std::vector<int>& passed = {});
  [[nodiscard]] std::unexpected<Error> gone(std::string_view what) const;

  const std::string database_path_;
  Fd socket_;
  pid_t pid_;
  Patience patience_;
};

}  // namespace mc::lifecycle
