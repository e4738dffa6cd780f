// SPDX-License-Identifier: Apache-2.0
#include "admin/draining_servers.hpp"

#include <grpcpp/grpcpp.h>
#include <mc_proxy/v1/admin.grpc.pb.h>

#include <memory>
#include <string>

#include "base/log.hpp"
#include "lifecycle/draining_place.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"

using namespace mc;
using namespace mc::admin;

namespace {

namespace api = mc_proxy::v1;

/// A server that drains, with one connection of the pool "web" or, made before there were pools,
/// one that goes to the same backend without a pool, and blind to that part of a filter.
class Draining final : public api::ProxyAdminService::Service {
 public:
  enum class Age { kOfNow, kBeforePools };

  Draining(const std::string& database, Age age) : age_(age) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("unix:" + lifecycle::draining_path(database, 4711),
                             grpc::InsecureServerCredentials());
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    REQUIRE(server_ != nullptr);
  }

  grpc::Status GetStatus(grpc::ServerContext*, const api::GetStatusRequest*,
                         api::GetStatusResponse*) override {
    return grpc::Status::OK;
  }
  grpc::Status ListConnections(grpc::ServerContext*, const api::ListConnectionsRequest* request,
                               grpc::ServerWriter<api::ListConnectionsResponse>* writer) override {
    api::ListConnectionsResponse message;
    if (age_ == Age::kBeforePools) {
      message.add_connections()->set_id("0-1");
    } else if (request->filter().pool() == "web") {
      message.add_connections()->set_pool("web");
    }
    if (message.connections_size() > 0) writer->Write(message);
    return grpc::Status::OK;
  }
  grpc::Status CloseConnections(grpc::ServerContext*, const api::CloseConnectionsRequest*,
                                api::CloseConnectionsResponse* response) override {
    response->set_closed(1);
    return grpc::Status::OK;
  }

 private:
  const Age age_;
  std::unique_ptr<grpc::Server> server_;
};

std::uint64_t close(const std::string& database, const std::string& pool) {
  Log log({.level = LogLevel::kError, .priorities = LogPriorities::kNever});
  const DrainingServers servers(database, log);
  api::CloseConnectionsRequest request;
  request.mutable_filter()->set_backend("127.0.0.1:18443");
  request.mutable_filter()->set_pool(pool);
  return servers.close(request);
}

}  // namespace

TEST_CASE("a draining server closes the connections of a pool") {
  const mc::test::TempDir directory;
  const std::string database = directory.file("mc-proxy.db");
  const Draining server(database, Draining::Age::kOfNow);
  CHECK(close(database, "web") == 1);
  CHECK(close(database, "other") == 0);
}

TEST_CASE("one from before there were pools closes none for a pool") {
  const mc::test::TempDir directory;
  const std::string database = directory.file("mc-proxy.db");
  const Draining server(database, Draining::Age::kBeforePools);
  CHECK(close(database, "web") == 0);
  CHECK(close(database, "") == 1);
}
