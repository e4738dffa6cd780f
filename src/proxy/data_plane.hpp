// SPDX-License-Identifier: Apache-2.0
#pragma once
// All workers, from the first bind to the last session. Control threads reach the rings through
// this: publish a policy, list and cut sessions, drain, read counters.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "base/fd.hpp"
#include "base/log.hpp"
#include "base/result.hpp"
#include "net/socket_address.hpp"
#include "proxy/worker.hpp"
#include "traffic/live_traffic.hpp"

namespace mc::proxy {

/// What a data plane is made from. Listener i of the settings listens on addresses[i].
struct DataPlaneOptions {
  Settings settings;
  std::vector<SocketAddress> addresses;
  // By listener: sockets that listen at its address already. Opened where there are none, and for
  // listeners beyond the end.
  std::vector<std::vector<Fd>> inherited;
  std::vector<int> cpus;  // one worker for each
  bool pin_workers = false;
};

/// One control thread makes, drains and destroys it; any thread may use the rest while it exists.
class DataPlane final : public traffic::LiveTraffic {
 public:
  /// Listens on every address and starts the workers; clients wait in the kernel's queues until
  /// open(). On an error nothing is left running. `policy` has a reader for each worker, and
  /// outlives it, as `log` does.
  static Result<std::unique_ptr<DataPlane>> start(DataPlaneOptions options,
                                                  policy::PublishedPolicy& policy, Log& log);
  DataPlane(const DataPlane&) = delete;
  DataPlane& operator=(const DataPlane&) = delete;
  /// Resets what is still open and joins the workers.
  ~DataPlane();

  /// Accepts, from now on or again.
  void open();
  /// Stops accepting; new clients wait in the kernel's queues. Returns when no worker can accept
  /// any more and every accepted client has its session: another process with the sockets may
  /// accept then.
  void suspend();
  /// The sockets that it listens with, until drain().
  [[nodiscard]] const std::vector<ListeningSocket>& sockets() const { return sockets_; }

  /// Resets every open session whose client `firewall` (not null) does not admit, in any stage; its
  /// reason is kFirewallCut. Publish the policy with this firewall first: then no such client can
  /// come after the cut. Returns when the workers have the sweep: at once, unless they have
  /// kSweepsMax already. They carry it out in slices (kVisitsPerTurn) and keep `firewall` until
  /// then. A draining worker does so too.
  void cut(const std::shared_ptr<const policy::Firewall>& firewall);
  /// The same for every session that relays to this backend (not null) of a pool; its reason is
  /// kBackendDown.
  void cut(const std::shared_ptr<const policy::BackendState>& backend);

  void list(const traffic::ConnectionFilter& filter,
            const std::function<bool(std::span<const traffic::Connection>)>& take) override;
  std::uint64_t close(const traffic::ConnectionFilter& filter, const Wanted& wanted) override;
  std::uint64_t count(const traffic::ConnectionFilter& filter, const Wanted& wanted) override;
  [[nodiscard]] bool accepting() const override;
  [[nodiscard]] traffic::Totals totals() const override;
  [[nodiscard]] traffic::EventHub& events() override { return events_; }

  /// Whether every worker's loop has turned since the last call. Makes them turn for the next one.
  [[nodiscard]] bool all_workers_progressed();

  /// For drain(): sessions go on until they end.
  static constexpr std::chrono::milliseconds kNoLimit = std::chrono::days(36'500);
  /// Stops listening; sessions have `grace` to end, then they are reset. Clients in a queue are
  /// served first, unless accepting is suspended. Another call replaces the first one's grace.
  void drain(std::chrono::milliseconds grace);
  /// Becomes readable (poll(2)) once all workers have ended.
  [[nodiscard]] int ended_fd() const { return ended_fd_.get(); }

 private:
  struct WorkerSlot;

  DataPlane(DataPlaneOptions options, policy::PublishedPolicy& policy, Log& log);

  Result<void> listen();
  Result<void> start_workers();
  void command_accepting(Worker::Accepting wanted);
  void work(WorkerSlot& slot);
  void submit_to_all(const std::function<std::unique_ptr<Sweep>()>& make);
  std::shared_ptr<SweepResults> submit(const traffic::ConnectionFilter& filter, SweepAction action);
  std::uint64_t finish(SweepResults& results, const Wanted& wanted);
  void wake_workers();

  DataPlaneOptions options_;
  Log& log_;
  policy::PublishedPolicy& policy_;
  traffic::EventHub events_;
  OpenConnections connections_;
  std::atomic<std::size_t> running_{0};
  std::atomic<bool> open_{false};
  std::vector<ListeningSocket> sockets_;
  Fd ended_fd_;
  std::vector<std::unique_ptr<WorkerSlot>> slots_;
};

}  // namespace mc::proxy
