// SPDX-License-Identifier: Apache-2.0
#pragma once
// RPCs of a server that has handed over, for the one that serves, besides those of Service: see
// proto/mc_proxy/internal/v1/draining.proto. gRPC's threads, several at once.

#include <grpcpp/server_context.h>
#include <mc_proxy/internal/v1/draining.grpc.pb.h>

#include <chrono>
#include <functional>

#include "control/control.hpp"

namespace mc::admin {

/// Ends the server within this time. Any thread.
using StopWithin = std::function<void(std::chrono::milliseconds)>;

class DrainingService final : public mc_proxy::internal::v1::DrainingService::Service {
 public:
  /// `control`, and what `stop` refers to, outlive it.
  DrainingService(control::Control& control, StopWithin stop)
      : control_(control), stop_(std::move(stop)) {}

  grpc::Status CutConnections(grpc::ServerContext* context,
                              const mc_proxy::internal::v1::CutConnectionsRequest* request,
                              mc_proxy::internal::v1::CutConnectionsResponse* response) override;
  grpc::Status Stop(grpc::ServerContext* context,
                    const mc_proxy::internal::v1::StopRequest* request,
                    mc_proxy::internal::v1::StopResponse* response) override;

 private:
  control::Control& control_;
  const StopWithin stop_;
};

}  // namespace mc::admin
