// SPDX-License-Identifier: Apache-2.0
// The calls about pools, over the Unix socket of a server with a real control plane.

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "admin/server.hpp"
#include "client/channel.hpp"
#include "support/catch.hpp"
#include "unit/control/control_fixture.hpp"
#include "unit/rpc/workshop.hpp"

namespace mc::admin {
namespace {

namespace api = mc_proxy::v1;
using rpc::test::Workshop;
using Stub = api::ProxyAdminService::Stub;

constexpr std::chrono::seconds kPatience{20};

// A data plane without connections, which notes what was to be closed.
class NotingTraffic final : public traffic::LiveTraffic {
 public:
  [[nodiscard]] traffic::Totals totals() const override {
    traffic::Totals totals;
    totals.listeners.resize(2);  // those of the plant
    return totals;
  }
  [[nodiscard]] bool accepting() const override { return true; }
  [[nodiscard]] traffic::EventHub& events() override { return events_; }
  void list(const traffic::ConnectionFilter&,
            const std::function<bool(std::span<const traffic::Connection>)>&) override {}
  std::uint64_t close(const traffic::ConnectionFilter& filter, const Wanted&) override {
    closed = filter;
    return 3;
  }
  std::uint64_t count(const traffic::ConnectionFilter&, const Wanted&) override { return 0; }

  std::optional<traffic::ConnectionFilter> closed;

 private:
  traffic::EventHub events_;
};

class Stage {
 public:
  Stage() : log_({.level = LogLevel::kError, .priorities = LogPriorities::kNever}) {
    REQUIRE(plant.open() == "");
    auto started = Server::start(
        {.addr = {}, .certificates = {}, .socket = workshop_.socket(), .version = "test"},
        plant.control(), traffic, log_);
    REQUIRE(started.has_value());
    server_ = *std::move(started);
    auto channel = client::connect_local({.socket = workshop_.socket(), .config = ""});
    REQUIRE(channel.has_value());
    stub_ = api::ProxyAdminService::NewStub(*channel);
  }

  template <class Request, class Response>
  grpc::Status call(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                    const Request& request, Response& response) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    return (stub_.get()->*method)(&context, request, &response);
  }

  /// "" or why it was refused.
  std::string add(const std::string& name, int backends = 1) {
    api::AddPoolRequest request;
    request.mutable_pool()->set_name(name);
    for (int i = 0; i < backends; ++i) {
      request.mutable_pool()->add_backends()->set_address(
          fmt::format("10.0.{}.{}:443", i / 250, 1 + i % 250));
    }
    api::AddPoolResponse response;
    return call(&Stub::AddPool, request, response).error_message();
  }
  api::ListPoolsResponse list(const api::ListPoolsRequest& request = {}) {
    api::ListPoolsResponse response;
    const grpc::Status status = call(&Stub::ListPools, request, response);
    INFO(status.error_message());
    REQUIRE(status.ok());
    return response;
  }

  control::test::Plant plant;
  NotingTraffic traffic;

 private:
  const Workshop workshop_;
  Log log_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<Stub> stub_;
};

}  // namespace

TEST_CASE("a pool that is added is listed, with defaults and the state of its backends") {
  Stage stage;
  REQUIRE(stage.add("app", 2) == "");
  const auto listed = stage.list();
  REQUIRE(listed.pools_size() == 1);
  const api::PoolStatus& one = listed.pools(0);
  CHECK(one.pool().name() == "app");
  CHECK(one.pool().balance() == api::BALANCE_RANDOM_TWO);
  CHECK(one.pool().retries() == 2);
  CHECK(one.pool().dial_budget().seconds() == 8);
  REQUIRE(one.backends_size() == 2);
  CHECK(one.backends(0).health() == api::BACKEND_HEALTH_UNCHECKED);
  CHECK(one.backends(0).weight() == 100);
  CHECK(listed.revision() == stage.plant.control().state()->revision);
  CHECK(listed.next_page_token().empty());
}

TEST_CASE("one pool can be listed alone, and an unknown one is not found") {
  Stage stage;
  REQUIRE(stage.add("app") == "");
  REQUIRE(stage.add("web") == "");
  api::ListPoolsRequest request;
  request.set_name("web");
  CHECK(stage.list(request).pools(0).pool().name() == "web");
  request.set_name("wep");
  api::ListPoolsResponse response;
  const grpc::Status status = stage.call(&Stub::ListPools, request, response);
  CHECK(status.error_code() == grpc::StatusCode::NOT_FOUND);
  CHECK(status.error_message().contains("\"wep\""));
  CHECK(status.error_message().contains("did you mean \"web\"?"));
}

TEST_CASE("pools come in pages, of a number or of some bytes") {
  Stage stage;
  api::ListPoolsRequest request;
  SECTION("of a number") {
    for (const char* const name : {"c", "a", "b"}) REQUIRE(stage.add(name) == "");
    request.set_page_size(2);
    const auto first = stage.list(request);
    REQUIRE(first.pools_size() == 2);
    CHECK(first.pools(0).pool().name() == "a");
    CHECK(first.next_page_token() == "b");
    request.set_page_token(first.next_page_token());
    const auto second = stage.list(request);
    REQUIRE(second.pools_size() == 1);
    CHECK(second.pools(0).pool().name() == "c");
    CHECK(second.next_page_token().empty());
  }
  SECTION("of some bytes") {
    constexpr int kPools = 40;
    for (int i = 0; i < kPools; ++i) REQUIRE(stage.add(fmt::format("p{:02}", i), 1'000) == "");
    int shown = 0;
    int pages = 0;
    do {
      const auto page = stage.list(request);
      CHECK(page.ByteSizeLong() < (std::size_t{2} << 20));
      shown += page.pools_size();
      ++pages;
      request.set_page_token(page.next_page_token());
    } while (!request.page_token().empty());
    CHECK(shown == kPools);
    CHECK(pages > 1);
  }
}

TEST_CASE("what is wrong with a pool is reported by its field") {
  Stage stage;
  CHECK(stage.add("a b").starts_with("pool.name: "));
  CHECK(stage.add("app", 0).starts_with("pool.backends: "));
  api::AddPoolRequest request;
  request.mutable_pool()->set_name("app");
  request.mutable_pool()->add_backends()->set_address("10.0.0.1:443");
  request.mutable_pool()->add_backends()->set_address("10.0.0.2");
  api::AddPoolResponse response;
  const grpc::Status wrong = stage.call(&Stub::AddPool, request, response);
  CHECK(wrong.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  CHECK(wrong.error_message().starts_with("pool.backends[1].address: "));
  request.mutable_pool()->set_balance(static_cast<api::Balance>(99));
  const grpc::Status unknown = stage.call(&Stub::AddPool, request, response);
  CHECK(unknown.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  CHECK(unknown.error_message().starts_with("pool.balance: "));
}

TEST_CASE("a pool is removed once") {
  Stage stage;
  REQUIRE(stage.add("app") == "");
  api::RemovePoolRequest request;
  request.set_name("app");
  api::RemovePoolResponse response;
  CHECK(stage.call(&Stub::RemovePool, request, response).ok());
  CHECK(stage.list().pools_size() == 0);
  CHECK(stage.call(&Stub::RemovePool, request, response).error_code() ==
        grpc::StatusCode::NOT_FOUND);
}

TEST_CASE("a backend's state is set, and its connections are closed only on demand") {
  Stage stage;
  REQUIRE(stage.add("app", 2) == "");
  api::SetBackendStateRequest request;
  request.set_pool("app");
  request.set_address("10.0.0.1:443");
  api::SetBackendStateResponse response;
  const grpc::Status left_out = stage.call(&Stub::SetBackendState, request, response);
  CHECK(left_out.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  CHECK(left_out.error_message().contains("BACKEND_STATE_MAINTENANCE"));
  request.set_state(api::BACKEND_STATE_DRAIN);
  REQUIRE(stage.call(&Stub::SetBackendState, request, response).ok());
  CHECK(response.closed() == 0);
  CHECK_FALSE(stage.traffic.closed.has_value());
  CHECK(stage.list().pools(0).backends(0).state() == api::BACKEND_STATE_DRAIN);
  CHECK(stage.list().pools(0).backends(1).state() == api::BACKEND_STATE_READY);
  request.set_state(api::BACKEND_STATE_MAINTENANCE);
  request.set_close_sessions(true);
  REQUIRE(stage.call(&Stub::SetBackendState, request, response).ok());
  CHECK(response.closed() == 3);
  REQUIRE(stage.traffic.closed.has_value());
  CHECK(stage.traffic.closed->pool == "app");
  CHECK(stage.traffic.closed->backend->to_string() == "10.0.0.1:443");
}

TEST_CASE("nothing is closed where the state could not be set") {
  Stage stage;
  REQUIRE(stage.add("app") == "");
  api::SetBackendStateRequest request;
  request.set_pool("app");
  request.set_address("10.0.0.9:443");
  request.set_state(api::BACKEND_STATE_DRAIN);
  request.set_close_sessions(true);
  api::SetBackendStateResponse response;
  CHECK(stage.call(&Stub::SetBackendState, request, response).error_code() ==
        grpc::StatusCode::NOT_FOUND);
  CHECK_FALSE(stage.traffic.closed.has_value());
}

TEST_CASE("the status counts pools and backends, and names those that are unavailable") {
  Stage stage;
  REQUIRE(stage.add("app", 150) == "");
  const auto status = [&stage] {
    api::GetStatusResponse response;
    REQUIRE(stage.call(&Stub::GetStatus, api::GetStatusRequest(), response).ok());
    return response;
  };
  CHECK(status().pool_count() == 1);
  CHECK(status().backend_count() == 150);
  CHECK(status().unavailable_backend_count() == 0);
  const auto state = stage.plant.control().state();
  const auto backends = state->pools->at("app")->backends();
  backends[7].state->set_health(policy::Health::kDown, "Connection refused", Clock::now());
  REQUIRE(status().unavailable_backends_size() == 1);
  CHECK(status().unavailable_backends(0).health() == api::BACKEND_HEALTH_DOWN);
  CHECK(status().unavailable_backends(0).reason() == "Connection refused");
  for (const policy::LiveBackend& backend : backends) {
    backend.state->set_health(policy::Health::kDown, "", Clock::now());
  }
  CHECK(status().unavailable_backend_count() == 150);
  CHECK(status().unavailable_backends_size() == 100);
}

}  // namespace mc::admin
