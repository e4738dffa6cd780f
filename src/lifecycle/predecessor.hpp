// SPDX-License-Identifier: Apache-2.0
#pragma once
// The server that runs already, as its successor sees it (handover.hpp tells the story). Each step
// waits for its answer, kStepMax at the most. As long as step_down() has not succeeded, destroying
// this leaves the predecessor serving as before. One thread.

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

  /// What it tells of itself; kAboutMax at the most. An error from a version that does not, and
  /// while another successor keeps it.
  Result<SelfReport> self_report();
  /// Its listening sockets: proxied listeners and admin API. It goes on accepting from them.
  Result<std::vector<Fd>> sockets();
  /// It closes the database and takes no more changes and no more clients of the API.
  Result<void> release_database();
  /// It accepts no more: clients wait in the sockets' queues.
  Result<void> stop_accepting();
  /// It gives everything up for good: it finishes its sessions and ends. From a success on this
  /// process is the server; after an error the predecessor is, or will be again. Passes it the
  /// socket where it is reached meanwhile (draining_place.hpp), so before this process is confined.
  Result<void> step_down();

 private:
  Predecessor(std::string database_path, Fd socket, pid_t pid, const Patience& patience)
      : database_path_(std::move(database_path)),
        socket_(std::move(socket)),
        pid_(pid),
        patience_(patience) {}

  Result<void> ask(std::string_view what, std::vector<Fd>& descriptors,
                   const std::vector<int>& passed = {});
  [[nodiscard]] std::unexpected<Error> gone(std::string_view what) const;

  const std::string database_path_;
  Fd socket_;
  pid_t pid_;
  Patience patience_;
};

}  // namespace mc::lifecycle
