// SPDX-License-Identifier: Apache-2.0
#include "admin/translate.hpp"

#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>

#include <string>

#include "support/catch.hpp"

namespace mc::admin {
namespace {

namespace api = mc_proxy::v1;
using control::kBackendField;
using control::kHostnameField;
using control::kRuleTypeField;
using control::kRuleValueField;
using control::Refusal;
using control::RefusalKind;

google::rpc::BadRequest details_of(const grpc::Status& status) {
  google::rpc::Status whole;
  REQUIRE(whole.ParseFromString(status.error_details()));
  REQUIRE(whole.details_size() == 1);
  google::rpc::BadRequest details;
  REQUIRE(whole.details(0).UnpackTo(&details));
  return details;
}

}  // namespace

TEST_CASE("every change of the API has its counterpart, and an empty one is refused later") {
  api::Change change;
  CHECK(std::holds_alternative<std::monostate>(to_control(change)));
  change.mutable_add_route()->set_listener_addr(":443");
  CHECK(std::get<control::AddRoute>(to_control(change)).listener == ":443");
  change.mutable_put_route()->mutable_route()->set_backend("192.0.2.1:443");
  CHECK(std::get<control::PutRoute>(to_control(change)).route.backend == "192.0.2.1:443");
  change.mutable_remove_route()->set_hostname("app.example.com");
  CHECK(std::get<control::RemoveRoute>(to_control(change)).hostname == "app.example.com");
  change.mutable_add_firewall_rule()->set_type(api::FIREWALL_RULE_TYPE_CIDR);
  CHECK(std::get<control::AddRule>(to_control(change)).rule.type == control::RuleType::kCidr);
  change.mutable_put_firewall_rule()->set_value("DE");
  CHECK(std::get<control::PutRule>(to_control(change)).rule.value == "DE");
  change.mutable_put_route()->mutable_route()->set_pool("app");
  CHECK(std::get<control::PutRoute>(to_control(change)).route.pool == "app");
  change.mutable_remove_pool()->set_name("app");
  CHECK(std::get<control::RemovePool>(to_control(change)).name == "app");
  change.mutable_remove_firewall_rule();
  CHECK(std::holds_alternative<control::RemoveRule>(to_control(change)));
}

TEST_CASE("what a route asks for goes both ways") {
  api::Change change;
  api::Route& route = *change.mutable_add_route()->mutable_route();
  route.set_hostname("app.example.com");
  route.set_backend("192.0.2.1:443");
  route.set_alpn("acme-tls/1");
  route.add_sources("10.0.0.0/8");
  route.add_sources("2001:db8::/32");
  const policy::RouteText text = std::get<control::AddRoute>(to_control(change)).route;
  CHECK(to_words(text.match) == "alpn=acme-tls/1 source=10.0.0.0/8,2001:db8::/32");
  api::Route out;
  out.add_sources("left over");
  to_api(policy::parse_route(text).value(), out);
  CHECK(out.SerializeAsString() == route.SerializeAsString());

  api::ListenerHostname& removed = *change.mutable_remove_route();
  removed.set_alpn("h2");
  removed.add_sources("::1");
  CHECK(to_words(std::get<control::RemoveRoute>(to_control(change)).match) == "alpn=h2 source=::1");
}

TEST_CASE("a violation is reported by the path of its field in the request") {
  const control::Violation backend{.index = 2, .field = kBackendField, .description = "wrong"};
  CHECK(path_in_single(backend) == "route.backend");
  CHECK(path_in_routes(backend) == "routes[2].backend");
  CHECK(path_in_filter(backend) == "filter.backend");
  CHECK(path_in_move({.index = 1}) == "to_listener_addr");
  CHECK(path_in_remove_route({.field = kHostnameField}) == "hostname");
  CHECK(path_in_single({.field = kRuleValueField}) == "rule.value");

  api::ApplyChangesRequest request;
  request.add_changes()->mutable_remove_route();
  request.add_changes()->mutable_put_firewall_rule();
  request.add_changes();
  const FieldPath path = path_in(request);
  CHECK(path({.index = 0, .field = kHostnameField}) == "changes[0].remove_route.hostname");
  CHECK(path({.index = 1, .field = kRuleTypeField}) == "changes[1].put_firewall_rule.type");
  CHECK(path({.index = 2}) == "changes[2]");
}

TEST_CASE("a violation in a pool is reported by the path of its field, or its backend's") {
  using Of = control::Field::Of;
  const control::Violation retries{.index = 0, .field = {Of::kPool, "retries"}};
  const control::Violation address{.index = 1, .field = {Of::kPool, "address"}, .backend = 2};
  CHECK(path_in_single(retries) == "pool.retries");
  CHECK(path_in_single(address) == "pool.backends[2].address");
  CHECK(path_in_single({.field = control::kPoolNameField}) == "name");

  api::ApplyChangesRequest request;
  request.add_changes()->mutable_put_pool();
  request.add_changes()->mutable_add_pool();
  request.add_changes()->mutable_remove_pool();
  request.add_changes()->mutable_add_backend();
  request.add_changes()->mutable_remove_backend();
  request.add_changes()->mutable_set_backend_state();
  const FieldPath path = path_in(request);
  CHECK(path(retries) == "changes[0].put_pool.retries");
  CHECK(path(address) == "changes[1].add_pool.backends[2].address");
  CHECK(path({.index = 2, .field = control::kPoolNameField}) == "changes[2].remove_pool.name");
  CHECK(path({.index = 3, .field = {Of::kBackend, "weight"}}) ==
        "changes[3].add_backend.backend.weight");
  CHECK(path({.index = 3, .field = control::kPoolField}) == "changes[3].add_backend.pool");
  CHECK(path({.index = 4, .field = control::kAddressField}) == "changes[4].remove_backend.address");
  CHECK(path({.index = 5, .field = control::kAddressField}) ==
        "changes[5].set_backend_state.address");
}

TEST_CASE("the effect on a route shows where it led") {
  control::Effect effect{.result = control::Effect::Result::kChanged};
  effect.previous = policy::parse_route({.hostname = "app.example.com", .pool = "app"}).value();
  api::ChangeEffect shown;
  to_api(effect, shown);
  CHECK(shown.previous_backend() == "pool=app");
}

TEST_CASE("a summary counts pools") {
  api::ChangeSummary shown;
  to_api(control::Applied{.pools_added = 1, .pools_changed = 2, .pools_removed = 3}, shown);
  CHECK(shown.pools_added() == 1);
  CHECK(shown.pools_changed() == 2);
  CHECK(shown.pools_removed() == 3);
}

TEST_CASE("a refusal with violations carries each of them, and the first in its message") {
  const Refusal refusal{.kind = RefusalKind::kInvalid,
                        .violations = {{0, kBackendField, "no port"}, {0, kHostnameField, "empty"}},
                        .violations_more = 3};
  const grpc::Status status = to_status(refusal, path_in_single);
  CHECK(status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  CHECK(status.error_message() == "route.backend: no port (and 4 more)");
  const auto details = details_of(status);
  REQUIRE(details.field_violations_size() == 2);
  CHECK(details.field_violations(1).field() == "route.hostname");
  CHECK(details.field_violations(1).description() == "empty");
}

TEST_CASE("a refusal of one change in a batch names it") {
  const Refusal refusal{.kind = RefusalKind::kNotFound, .message = "no such route", .index = 17};
  const grpc::Status status = to_status(refusal, path_in_single);
  CHECK(status.error_code() == grpc::StatusCode::NOT_FOUND);
  CHECK(status.error_message() == "changes[17]: no such route");
}

TEST_CASE("every kind of refusal has a code that says whether to try again") {
  const auto code = [](RefusalKind kind) {
    return to_status({.kind = kind, .message = "why"}, path_in_single).error_code();
  };
  CHECK(code(RefusalKind::kStale) == grpc::StatusCode::ABORTED);
  CHECK(code(RefusalKind::kStopping) == grpc::StatusCode::UNAVAILABLE);
  CHECK(code(RefusalKind::kStoreLocked) == grpc::StatusCode::UNAVAILABLE);
  CHECK(code(RefusalKind::kStoreReadOnly) == grpc::StatusCode::UNAVAILABLE);
  CHECK(code(RefusalKind::kStoreFull) == grpc::StatusCode::RESOURCE_EXHAUSTED);
  CHECK(code(RefusalKind::kStoreReplaced) == grpc::StatusCode::FAILED_PRECONDITION);
  CHECK(code(RefusalKind::kStoreFailed) == grpc::StatusCode::INTERNAL);
}

TEST_CASE("a moment before 1970 is a timestamp with nanoseconds that count forward") {
  const auto timestamp =
      to_timestamp(std::chrono::system_clock::time_point(std::chrono::milliseconds(-1)));
  CHECK(timestamp.seconds() == -1);
  CHECK(timestamp.nanos() == 999'000'000);
  const auto duration = to_duration(std::chrono::milliseconds(1500));
  CHECK(duration.seconds() == 1);
  CHECK(duration.nanos() == 500'000'000);
}

TEST_CASE("a connection that was refused at once has no id") {
  const control::Listeners listeners(
      {{.name = ":443", .addr = *SocketAddress::parse_listen(":443")}});
  traffic::Connection connection{.client = *SocketAddress::parse("198.51.100.9:50000"),
                                 .age = std::chrono::seconds(5)};
  const std::chrono::system_clock::time_point now(std::chrono::seconds(100));
  api::Connection shown;
  to_api(connection, listeners, now, shown);
  CHECK(shown.id().empty());
  CHECK(shown.listener_addr() == ":443");
  CHECK(shown.client() == "198.51.100.9:50000");
  CHECK(shown.started_at().seconds() == 95);
  connection.id = {.worker = 1, .number = 2};
  to_api(connection, listeners, now, shown);
  CHECK(shown.id() == "1-2");
  CHECK(shown.pool().empty());
  connection.pool = "app";
  connection.tries = 3;
  to_api(connection, listeners, now, shown);
  CHECK(shown.pool() == "app");
  CHECK(shown.tries() == 3);
}

}  // namespace mc::admin
