// SPDX-License-Identifier: Apache-2.0
#pragma once
// How a running server hands over to another process without a client noticing. The successor
// requests each step; all but the last can be undone:
//
//     1. sockets     the successor gets every listening socket; this server still accepts
//     2. database    this server closes the database; the successor opens it, loads, starts its
//                    rings
//     3. accepting   this server cancels its standing accepts and serves what they had accepted;
//                    new clients wait in the sockets' queues
//     4. step down   this server replies, finishes its sessions and ends; on the reply the
//                    successor begins to accept
//
// If the successor disappears before step 4, or is silent for kStepMax, this server undoes the
// steps. The reply to step 4 decides: if it is not sent, this server goes on; if it comes too late,
// the successor gives up. So there is never more than one server. The order follows from the
// kernel: if two processes have standing accepts on one socket and one cancels, connections are
// lost.
//
// It also sends a report of itself (self_report.hpp), which is no step and changes nothing.
//
// All on one thread, which polls fd() and calls turn().

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "base/log.hpp"
#include "base/result.hpp"
#include "lifecycle/confinement.hpp"
#include "lifecycle/handover_wire.hpp"
#include "lifecycle/limits.hpp"

namespace mc::lifecycle {

/// The server, as the hand-over sees it.
class Incumbent {
 public:
  virtual ~Incumbent() = default;

  virtual std::vector<int> listening_sockets() = 0;
  virtual const Confinement& confinement() = 0;
  virtual void release_database() = 0;
  /// Undoes release_database().
  virtual void take_database_back() = 0;
  /// Returns when no client can be accepted any more.
  virtual void stop_accepting() = 0;
  /// Undoes stop_accepting().
  virtual void accept_again() = 0;
  /// The successor is the server now. `place` listens where this one is reached from now on
  /// (draining_place.hpp); nothing if the successor could not make it.
  virtual void succeeded_by(pid_t successor, Fd place) = 0;
  /// The successor has given up, or this side gave it up. The steps are undone.
  virtual void take_over_failed(const std::string& why) = 0;
};

class Handover {
 public:
  /// Waits for a successor beside the database that this process has locked. Call it once this
  /// process serves: until then the path is its predecessor's. `incumbent` and `log` outlive it.
  static Result<std::unique_ptr<Handover>> open(const std::string& database_path,
                                                Incumbent& incumbent, Log& log,
                                                const Patience& patience = {});
  Handover(const Handover&) = delete;
  Handover& operator=(const Handover&) = delete;
  /// Removes the socket, unless the path is the successor's already.
  ~Handover();

  /// Readable (poll(2)) when turn() has something to do.
  [[nodiscard]] int fd() const;
  void turn();
  /// Call it about once a second: it gives up a silent successor.
  void tick();
  /// A successor has the database, and may still return it.
  [[nodiscard]] bool is_under_way() const {
    return stage_ == Stage::kDatabase || stage_ == Stage::kAccepting;
  }

 private:
  enum class Stage : std::uint8_t { kNone, kSockets, kDatabase, kAccepting, kDown };

  Handover(std::string path, Incumbent& incumbent, Log& log, const Patience& patience);

  Result<void> listen(const std::string& database_path);
  void accept_successor();
  void carry_out(Message& request);
  [[nodiscard]] bool send_sockets();
  [[nodiscard]] bool report();
  void refuse(const std::string& why);
  void give_up(const std::string& why);
  void finish(Fd place);

  const std::string path_;
  Incumbent& incumbent_;
  Log& log_;
  const Patience patience_;
  Fd listener_;
  Fd successor_;
  pid_t successor_pid_ = 0;
  uid_t successor_uid_ = 0;
  Stage stage_ = Stage::kNone;
  std::chrono::steady_clock::time_point heard_{};
};

}  // namespace mc::lifecycle
