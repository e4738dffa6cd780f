// SPDX-License-Identifier: Apache-2.0
#include "admin/translate_pool.hpp"

#include <limits>
#include <memory>
#include <string>

#include "support/catch.hpp"

namespace mc::admin {
namespace {

namespace api = mc_proxy::v1;
using std::chrono::milliseconds;

// A pool with another value than the default in every field.
policy::Pool unusual() {
  return {.name = "app",
          .settings = {.balance = policy::Balance::kHashSource,
                       .hash_prefix_v4 = 24,
                       .hash_prefix_v6 = 48,
                       .retries = 0,
                       .dial_budget = milliseconds(2'500),
                       .slow_start = milliseconds(30'000),
                       .all_down = policy::AllDown::kRefuse,
                       .on_down = policy::OnDown::kReset,
                       .send_proxy = policy::SendProxy::kV2,
                       .send_proxy_tlvs = {.unique_id = true, .crc32c = true},
                       .check = {.kind = policy::CheckKind::kTls,
                                 .name = "app.example.com",
                                 .interval = milliseconds(7'000),
                                 .fast_interval = milliseconds(250),
                                 .timeout = milliseconds(1'500),
                                 .rise = 4,
                                 .fall = 5}},
          .backends = {{.address = policy::parse_backend("10.0.0.1:443").value(),
                        .weight = 0,
                        .backup = true,
                        .max_connections = 17,
                        .state = policy::AdminState::kMaintenance},
                       {.address = policy::parse_backend("[2001:db8::1]:443").value()}}};
}

std::string field_of(const std::optional<UnknownValue>& unknown) {
  return unknown.has_value() ? unknown->field : "";
}

}  // namespace

TEST_CASE("a pool that is written and read again is the same") {
  api::Pool message;
  to_api(unusual(), message);
  const auto read = policy::parse_pool(to_control(message));
  REQUIRE(read.has_value());
  CHECK(*read == unusual());
}

TEST_CASE("what a request leaves out has its default") {
  api::Pool message;
  message.set_name("app");
  message.add_backends()->set_address("10.0.0.1:443");
  message.mutable_check()->set_kind(api::CHECK_KIND_TCP);
  const policy::PoolText text = to_control(message);
  policy::PoolSettings settings;
  settings.check.kind = policy::CheckKind::kTcp;
  CHECK(text.settings == settings);
  REQUIRE(text.backends.size() == 1);
  CHECK(text.backends[0] == policy::BackendText{.address = "10.0.0.1:443"});
}

TEST_CASE("a number that is 0 and not left out is 0") {
  api::Pool message;
  message.set_retries(0);
  message.mutable_dial_budget();
  message.add_backends()->set_weight(0);
  const policy::PoolText text = to_control(message);
  CHECK(text.settings.retries == 0);
  CHECK(text.settings.dial_budget == milliseconds(0));
  CHECK(text.backends[0].weight == 0);
}

TEST_CASE("numbers that do not fit are refused, and do not become others") {
  api::Pool message;
  to_api(unusual(), message);
  message.set_retries(std::numeric_limits<std::uint32_t>::max());
  message.mutable_backends(0)->set_weight(std::numeric_limits<std::uint32_t>::max());
  message.mutable_backends(0)->set_max_connections(std::numeric_limits<std::uint64_t>::max());
  message.mutable_dial_budget()->set_seconds(std::numeric_limits<std::int64_t>::max());
  message.mutable_slow_start()->set_seconds(std::numeric_limits<std::int64_t>::min());
  message.mutable_check()->mutable_timeout()->set_nanos(std::numeric_limits<std::int32_t>::min());
  const policy::PoolText text = to_control(message);
  CHECK(text.backends[0].max_connections == std::numeric_limits<std::int64_t>::max());
  const auto read = policy::parse_pool(text);
  REQUIRE_FALSE(read.has_value());
  std::vector<std::string_view> fields;
  for (const policy::PoolError& error : read.error()) fields.push_back(error.field);
  CHECK(fields == std::vector<std::string_view>{"retries", "dial_budget", "slow_start",
                                                "check.timeout", "weight", "max_connections"});
}

TEST_CASE("every change of a pool has its counterpart") {
  api::Change change;
  CHECK(std::holds_alternative<std::monostate>(to_pool_change(change)));
  change.mutable_add_pool()->set_name("app");
  CHECK(std::get<control::AddPool>(to_pool_change(change)).pool.name == "app");
  change.mutable_put_pool()->set_name("app");
  CHECK(std::get<control::PutPool>(to_pool_change(change)).pool.name == "app");
  change.mutable_remove_pool()->set_name("app");
  CHECK(std::get<control::RemovePool>(to_pool_change(change)).name == "app");
  change.mutable_add_backend()->set_pool("app");
  CHECK(std::get<control::AddBackend>(to_pool_change(change)).pool == "app");
  change.mutable_put_backend()->mutable_backend()->set_weight(7);
  CHECK(std::get<control::PutBackend>(to_pool_change(change)).backend.weight == 7);
  change.mutable_remove_backend()->set_address("10.0.0.1:443");
  CHECK(std::get<control::RemoveBackend>(to_pool_change(change)).address == "10.0.0.1:443");
  change.mutable_set_backend_state()->set_state(api::BACKEND_STATE_DRAIN);
  CHECK(std::get<control::SetBackendState>(to_pool_change(change)).state ==
        policy::AdminState::kDrain);
}

TEST_CASE("a value of a newer client is found, wherever it is") {
  api::Pool pool;
  to_api(unusual(), pool);
  CHECK(field_of(find_unknown(pool)).empty());
  pool.mutable_backends(1)->set_state(static_cast<api::BackendState>(99));
  CHECK(field_of(find_unknown(pool)) == "backends[1].state");
  pool.mutable_check()->set_kind(static_cast<api::CheckKind>(99));
  CHECK(field_of(find_unknown(pool)) == "check.kind");
  pool.set_balance(static_cast<api::Balance>(99));
  const auto unknown = find_unknown(pool);
  REQUIRE(unknown.has_value());
  CHECK(unknown->field == "balance");
  CHECK(unknown->description.contains("BALANCE_HASH_NAME"));
  api::Change change;
  *change.mutable_put_pool() = pool;
  CHECK(field_of(find_unknown(change)) == "put_pool.balance");
  change.mutable_add_backend()->mutable_backend()->set_state(static_cast<api::BackendState>(99));
  CHECK(field_of(find_unknown(change)) == "add_backend.backend.state");
}

TEST_CASE("a state to set must be given") {
  CHECK(field_of(find_unknown(api::BACKEND_STATE_DRAIN)).empty());
  const auto left_out = find_unknown(api::BACKEND_STATE_UNSPECIFIED);
  REQUIRE(left_out.has_value());
  CHECK(left_out->description.contains("BACKEND_STATE_READY, BACKEND_STATE_DRAIN"));
  api::Change change;
  change.mutable_set_backend_state();
  CHECK(field_of(find_unknown(change)) == "set_backend_state.state");
}

TEST_CASE("a backend's status has its health, and since when by the time of day") {
  const Moment at{.now = Instant(milliseconds(100'000)),
                  .time = std::chrono::system_clock::time_point(std::chrono::seconds(5'000))};
  const policy::LivePool pool(unusual(), policy::ResolvedNames(), nullptr, at.now);
  const policy::LiveBackend& backend = pool.backends()[1];
  const auto status = [&] {
    api::BackendStatus message;
    to_api(pool, backend, at, message);
    return message;
  };
  CHECK(status().health() == api::BACKEND_HEALTH_UNCHECKED);
  CHECK_FALSE(status().has_since());
  backend.state->set_health(policy::Health::kDown, "Connection refused",
                            Instant(milliseconds(40'000)));
  CHECK(status().pool() == "app");
  CHECK(status().address() == "[2001:db8::1]:443");
  CHECK(status().state() == api::BACKEND_STATE_READY);
  CHECK(status().health() == api::BACKEND_HEALTH_DOWN);
  CHECK(status().since().seconds() == 4'940);
  CHECK(status().reason() == "Connection refused");
  backend.state->set_health(policy::Health::kUp, "connected", at.now);
  backend.state->counts.active = 3;
  CHECK(status().health() == api::BACKEND_HEALTH_UP);
  CHECK(status().active_connections() == 3);
  CHECK(status().weight() == 1);  // slow_start has just begun
  backend.state->eject("Connection timed out", at.now);
  CHECK(status().health() == api::BACKEND_HEALTH_EJECTED);
  CHECK(status().reason() == "Connection timed out");
}

TEST_CASE("a pool's status has its backends in their order") {
  const Moment at;
  const policy::LivePool pool(unusual(), policy::ResolvedNames(), nullptr, at.now);
  api::PoolStatus message;
  to_api(pool, at, control::NameFailures(), message);
  REQUIRE(message.backends_size() == 2);
  CHECK(message.pool().backends(0).address() == message.backends(0).address());
  CHECK(message.backends(0).state() == api::BACKEND_STATE_MAINTENANCE);
  CHECK(message.backends(0).backup());
  CHECK(message.backends(0).max_connections() == 17);
}

TEST_CASE("a name has a status for each address, and without one it is told why") {
  policy::Pool spec{.name = "app", .settings = {}, .backends = {}};
  for (const char* const address : {"gone.internal:443", "app.internal:443", "new.internal:443"}) {
    spec.backends.push_back({.address = policy::parse_pool_address(address).value()});
  }
  const Moment at;
  const policy::LivePool pool(
      spec, {{"app.internal", {IpAddress::v4(0x0a000001), IpAddress::v4(0x0a000002)}}}, nullptr,
      at.now);
  control::NameFailures failures;
  failures.failed("gone.internal", "no such name", {});
  api::PoolStatus message;
  to_api(pool, at, failures, message);
  REQUIRE(message.backends_size() == 4);
  CHECK(message.backends(0).address() == "gone.internal:443");
  CHECK(message.backends(0).resolved_from() == "gone.internal:443");
  CHECK(message.backends(0).health() == api::BACKEND_HEALTH_DOWN);
  CHECK(message.backends(0).reason() == "not resolved: no such name");
  CHECK(message.backends(1).address() == "10.0.0.1:443");
  CHECK(message.backends(1).resolved_from() == "app.internal:443");
  CHECK(message.backends(1).health() == api::BACKEND_HEALTH_UNCHECKED);
  CHECK(message.backends(2).address() == "10.0.0.2:443");
  CHECK(message.backends(3).reason() == "not resolved yet");
}

TEST_CASE("a TLV of a newer client is found, and one that says nothing") {
  api::Pool pool;
  pool.add_send_proxy_tlvs(api::SEND_PROXY_TLV_AUTHORITY);
  CHECK(field_of(find_unknown(pool)).empty());
  pool.add_send_proxy_tlvs(static_cast<api::SendProxyTlv>(99));
  CHECK(field_of(find_unknown(pool)) == "send_proxy_tlvs[1]");
  pool.set_send_proxy_tlvs(1, api::SEND_PROXY_TLV_UNSPECIFIED);
  CHECK(field_of(find_unknown(pool)) == "send_proxy_tlvs[1]");
  pool.clear_send_proxy_tlvs();
  pool.set_send_proxy(static_cast<api::SendProxy>(99));
  CHECK(field_of(find_unknown(pool)) == "send_proxy");
}

}  // namespace mc::admin
