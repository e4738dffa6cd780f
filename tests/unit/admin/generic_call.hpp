// SPDX-License-Identifier: Apache-2.0
#pragma once
// A call of gRPC that needs no messages of ours, /mc.Test/Call, and a service that answers it.

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>

namespace mc::admin::test {

/// What became of a call.
struct Answer {
  grpc::Status status;      // the server's, or gRPC's own
  std::size_t bytes = 0;    // of the message
  std::string server_name;  // the CN of the server's certificate; empty without one
};

Answer call(const std::shared_ptr<grpc::Channel>& channel,
            std::chrono::milliseconds wait = std::chrono::seconds(20));

/// Answers every call with a status and no message.
class StatusService : public grpc::CallbackGenericService {
 public:
  using StatusOf = std::function<grpc::Status(const grpc::GenericCallbackServerContext&)>;
  explicit StatusService(StatusOf status_of) : status_of_(std::move(status_of)) {}

 private:
  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext* context) override;

  const StatusOf status_of_;
};

}  // namespace mc::admin::test
