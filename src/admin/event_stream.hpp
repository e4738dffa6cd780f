// SPDX-License-Identifier: Apache-2.0
#pragma once
// One call of WatchEvents, from its first message to its last. It polls every kWatchPeriod, so
// neither workers nor changes of policy have to wake it. It reads changes of policy from the audit
// table, where none can be missed; compares the server's state; and gets events of connections from
// the hub.

#include <google/protobuf/timestamp.pb.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>
#include <grpcpp/support/sync_stream.h>
#include <mc_proxy/v1/admin.pb.h>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>

#include "control/control.hpp"
#include "traffic/event_hub.hpp"
#include "traffic/live_traffic.hpp"

namespace mc::admin {

/// Ends all streams of a server. Any thread.
class StreamsEnd {
 public:
  /// Registers a stream's call while it lives.
  class Stream {
   public:
    explicit Stream(StreamsEnd& end);
    ~Stream();
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;
    /// Waits for the end, at most kWatchPeriod. Returns whether it has come.
    bool wait();

   private:
    StreamsEnd& end_;
  };

  /// Ends the streams, and waits for them, at most kStreamsGrace.
  void notify();

 private:
  std::mutex lock_;
  std::condition_variable changed_;
  std::size_t streams_ = 0;
  bool ended_ = false;
};

/// On the thread of its call.
class EventStream {
 public:
  using Writer = grpc::ServerWriter<mc_proxy::v1::WatchEventsResponse>;

  /// All of these outlive it.
  EventStream(control::Control& control, traffic::LiveTraffic& traffic, StreamsEnd& end,
              grpc::ServerContext& context, Writer& writer)
      : control_(control), traffic_(traffic), end_(end), context_(context), writer_(writer) {}

  /// Runs until the client leaves or the server ends.
  grpc::Status run(const mc_proxy::v1::WatchEventsRequest& request);

 private:
  /// The error of the request; OK if the watch begins.
  grpc::Status begin(const mc_proxy::v1::WatchEventsRequest& request);
  grpc::Status read_kinds(const mc_proxy::v1::WatchEventsRequest& request);

  // Each sends the new events of its kind; returns whether there may be more at once.
  bool send_changes();
  bool send_connections();
  void send_state();

  void send_change(const store::AuditRecord& record);
  void send_lost(mc_proxy::v1::EventKind kind, std::uint64_t count);
  void send(const mc_proxy::v1::WatchEventsResponse& message);

  control::Control& control_;
  traffic::LiveTraffic& traffic_;
  StreamsEnd::Stream end_;
  grpc::ServerContext& context_;
  Writer& writer_;
  grpc::Status failure_;  // why it must end
  bool wants_changes_ = false;
  bool wants_state_ = false;
  store::Revision revision_ = 0;  // the last that was sent
  mc_proxy::v1::ServerState state_ = mc_proxy::v1::SERVER_STATE_UNSPECIFIED;  // likewise
  std::optional<traffic::EventHub::Subscription> watch_;
};

}  // namespace mc::admin
