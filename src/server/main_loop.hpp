// SPDX-License-Identifier: Apache-2.0
#pragma once
// The server from the moment it serves to its end: signals, the keeper's orders, a successor, and
// what is to be done once a second. On the main thread.

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "admin/draining_servers.hpp"
#include "admin/server.hpp"
#include "base/clock.hpp"
#include "base/fd.hpp"
#include "base/log.hpp"
#include "config/config.hpp"
#include "control/control.hpp"
#include "dns/resolver.hpp"
#include "health/checker.hpp"
#include "lifecycle/confinement.hpp"
#include "lifecycle/handover.hpp"
#include "lifecycle/keeper.hpp"
#include "lifecycle/notifier.hpp"
#include "lifecycle/service_job.hpp"
#include "metrics/endpoint.hpp"
#include "proxy/data_plane.hpp"
#include "server/name_answers.hpp"
#include "server/stage.hpp"
#include "server/twin_signal.hpp"

namespace mc::server {

/// The parts of a running server, by reference; `api` and `metrics` are null where the
/// configuration has none.
struct ServerParts {
  const config::Config& config;
  control::Control& control;
  proxy::DataPlane& plane;
  health::Checker& checker;
  NameAnswers& answers;
  const std::unique_ptr<dns::Resolver>& resolver;  // null: it could not be started
  std::unique_ptr<admin::Server>& api;
  std::unique_ptr<metrics::Endpoint>& metrics;
  const admin::DrainingServers& draining;
  lifecycle::Notifier& notifier;
  lifecycle::KeeperLine& keeper;
  const lifecycle::Confinement& confinement;  // complete by the time of run()
  Log& log;
};

class MainLoop final : private lifecycle::Incumbent {
 public:
  explicit MainLoop(const ServerParts& parts);

  /// From now on a successor can take over. Before run().
  Result<void> await_successors();
  /// Returns when the last session has ended; after a stop, those of servers that drain too.
  void run(int signal_fd);

 private:
  template <class OneStage>
  [[nodiscard]] bool is() const {
    return std::holds_alternative<OneStage>(stage_);
  }
  [[nodiscard]] HandOver hand_over() const;

  void wait(int signal_fd);
  [[nodiscard]] std::chrono::milliseconds time_to_wait() const;
  void take_signal(int signal_fd);
  void take_order();
  void watch_for_stop();
  void look_for_stop();
  void be_left();
  void publish_names_soon();
  void publish_names();
  void reload_soon();
  void reload();
  void stop(std::string_view why);
  void stop_serving(std::string_view why);
  void stop_draining(std::string_view why);
  void cut(std::string_view why);
  void drain(std::chrono::milliseconds grace);
  void leave_api();
  void be_reached_at(Fd place);
  void stop_within(std::chrono::milliseconds time);
  void apply_stop_order();
  [[nodiscard]] bool is_over() const;
  void try_to_take_database_back();
  void tick();
  [[nodiscard]] std::string status() const;
  void report_totals();
  void report_failed_restart();

  std::vector<int> listening_sockets() override;
  const lifecycle::Confinement& confinement() override { return parts_.confinement; }
  void release_database() override;
  void take_database_back() override;
  void stop_accepting() override;
  void accept_again() override;
  void succeeded_by(pid_t successor, Fd place) override;
  void take_over_failed(const std::string& why) override;

  ServerParts parts_;
  std::unique_ptr<lifecycle::Handover> handover_;
  Stage stage_;
  bool database_is_out_ = false;  // with a successor, or with one that failed
  TwinSignal twin_;
  std::optional<std::string> stop_after_hand_over_;   // why
  std::optional<Instant> sessions_until_;             // all have ended by then
  bool sessions_ended_ = false;                       // all have
  std::unique_ptr<lifecycle::StopWatch> stop_watch_;  // once the keeper has left
  std::optional<Instant> reload_at_;
  std::optional<Instant> publish_names_at_;
  policy::ResolvedNames answers_;  // not published yet
  Instant next_tick_;              // at once
  // Orders of the server that serves, to one that drains: from gRPC's threads.
  static constexpr std::int64_t kNoOrder = -1;
  std::atomic<std::int64_t> stop_within_ms_{kNoOrder};
  Fd ordered_;  // an eventfd, readable when there is one
};

}  // namespace mc::server
