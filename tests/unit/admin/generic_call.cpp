// SPDX-License-Identifier: Apache-2.0
#include "unit/admin/generic_call.hpp"

#include <grpcpp/generic/generic_stub.h>

/// c-ares 1.18, which resolves names for gRPC, leaks some bytes with each; not our bug.
extern "C" const char* __lsan_default_suppressions() { return "leak:libcares"; }

namespace mc::admin::test {
namespace {

class Reactor final : public grpc::ServerGenericBidiReactor {
  void OnDone() override { delete this; }
};

}  // namespace

Answer call(const std::shared_ptr<grpc::Channel>& channel, std::chrono::milliseconds wait) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + wait);
  grpc::CompletionQueue queue;
  const auto pending = stub.PrepareCall(&context, "/mc.Test/Call", &queue);
  const auto next = [&] {
    void* tag = nullptr;
    bool is_ok = false;
    queue.Next(&tag, &is_ok);
    return is_ok;
  };
  Answer answer;
  pending->StartCall(nullptr);
  next();
  grpc::ByteBuffer part;
  pending->Read(&part, nullptr);
  if (next()) answer.bytes = part.Length();
  pending->Finish(&answer.status, nullptr);
  next();
  const auto names = context.auth_context()->FindPropertyValues("x509_common_name");
  if (!names.empty()) answer.server_name.assign(names.front().data(), names.front().size());
  return answer;
}

grpc::ServerGenericBidiReactor* StatusService::CreateReactor(
    grpc::GenericCallbackServerContext* context) {
  auto* const reactor = new Reactor;
  reactor->Finish(status_of_(*context));
  return reactor;
}

}  // namespace mc::admin::test
