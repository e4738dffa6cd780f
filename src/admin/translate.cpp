// SPDX-License-Identifier: Apache-2.0
#include "admin/translate.hpp"

#include <fmt/format.h>
#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>

#include <string_view>
#include <utility>

#include "admin/translate_pool.hpp"

namespace mc::admin {

namespace api = mc_proxy::v1;

namespace {

control::RuleType to_control(api::FirewallRuleType type) {
  switch (type) {
    case api::FIREWALL_RULE_TYPE_IP:
      return control::RuleType::kIp;
    case api::FIREWALL_RULE_TYPE_CIDR:
      return control::RuleType::kCidr;
    case api::FIREWALL_RULE_TYPE_COUNTRY:
      return control::RuleType::kCountry;
    default:
      return control::RuleType::kUnspecified;
  }
}

api::FirewallRuleType to_api(control::RuleType type) {
  switch (type) {
    case control::RuleType::kIp:
      return api::FIREWALL_RULE_TYPE_IP;
    case control::RuleType::kCidr:
      return api::FIREWALL_RULE_TYPE_CIDR;
    case control::RuleType::kCountry:
      return api::FIREWALL_RULE_TYPE_COUNTRY;
    case control::RuleType::kUnspecified:
      break;
  }
  return api::FIREWALL_RULE_TYPE_UNSPECIFIED;
}

api::ChangeResult to_api(control::Effect::Result result) {
  switch (result) {
    case control::Effect::Result::kAdded:
      return api::CHANGE_RESULT_ADDED;
    case control::Effect::Result::kChanged:
      return api::CHANGE_RESULT_CHANGED;
    case control::Effect::Result::kRemoved:
      return api::CHANGE_RESULT_REMOVED;
    case control::Effect::Result::kUnchanged:
      return api::CHANGE_RESULT_UNCHANGED;
  }
  std::unreachable();
}

api::ConnectionStage to_api(traffic::Stage stage) {
  switch (stage) {
    case traffic::Stage::kHello:
      return api::CONNECTION_STAGE_HELLO;
    case traffic::Stage::kDial:
      return api::CONNECTION_STAGE_DIAL;
    case traffic::Stage::kRelay:
      return api::CONNECTION_STAGE_RELAY;
  }
  std::unreachable();
}

grpc::StatusCode code_of(control::RefusalKind kind) {
  switch (kind) {
    case control::RefusalKind::kInvalid:
      return grpc::StatusCode::INVALID_ARGUMENT;
    case control::RefusalKind::kNotFound:
      return grpc::StatusCode::NOT_FOUND;
    case control::RefusalKind::kAlreadyExists:
      return grpc::StatusCode::ALREADY_EXISTS;
    case control::RefusalKind::kFailedPrecondition:
      return grpc::StatusCode::FAILED_PRECONDITION;
    case control::RefusalKind::kStale:
      return grpc::StatusCode::ABORTED;
    case control::RefusalKind::kTooMany:
      return grpc::StatusCode::RESOURCE_EXHAUSTED;
    case control::RefusalKind::kStopping:
      return grpc::StatusCode::UNAVAILABLE;
    case control::RefusalKind::kStoreFull:
      return grpc::StatusCode::RESOURCE_EXHAUSTED;
    case control::RefusalKind::kStoreReadOnly:
    case control::RefusalKind::kStoreLocked:
      return grpc::StatusCode::UNAVAILABLE;
    case control::RefusalKind::kStoreReplaced:
      return grpc::StatusCode::FAILED_PRECONDITION;
    case control::RefusalKind::kStoreFailed:
      return grpc::StatusCode::INTERNAL;
  }
  std::unreachable();
}

grpc::Status with_details(const std::string& message, const google::rpc::BadRequest& bad_request) {
  google::rpc::Status status;
  status.set_code(grpc::StatusCode::INVALID_ARGUMENT);
  status.set_message(message);
  status.add_details()->PackFrom(bad_request);
  return {grpc::StatusCode::INVALID_ARGUMENT, message, status.SerializeAsString()};
}

}  // namespace

policy::RouteText to_control(const api::Route& route) {
  return {.hostname = route.hostname(),
          .backend = route.backend(),
          .pool = route.pool(),
          .match = match_of(route)};
}

control::RuleText to_control(const api::FirewallRule& rule) {
  return {to_control(rule.type()), rule.value()};
}

control::Change to_control(const api::Change& change) {
  switch (change.change_case()) {
    case api::Change::kAddRoute:
      return control::AddRoute{change.add_route().listener_addr(),
                               to_control(change.add_route().route())};
    case api::Change::kPutRoute:
      return control::PutRoute{change.put_route().listener_addr(),
                               to_control(change.put_route().route())};
    case api::Change::kRemoveRoute:
      return control::RemoveRoute{change.remove_route().listener_addr(),
                                  change.remove_route().hostname(),
                                  match_of(change.remove_route())};
    case api::Change::kAddFirewallRule:
      return control::AddRule{to_control(change.add_firewall_rule())};
    case api::Change::kPutFirewallRule:
      return control::PutRule{to_control(change.put_firewall_rule())};
    case api::Change::kRemoveFirewallRule:
      return control::RemoveRule{to_control(change.remove_firewall_rule())};
    default:
      return to_pool_change(change);
  }
}

void to_api(const policy::Route& route, api::Route& out) {
  const policy::RouteText text = to_text(route);
  out.set_hostname(text.hostname);
  out.set_backend(text.backend);
  out.set_pool(text.pool);
  out.set_alpn(text.match.alpn);
  out.mutable_sources()->Assign(text.match.sources.begin(), text.match.sources.end());
}

void to_api(const control::Rule& rule, api::FirewallRule& out) {
  out.set_type(to_api(rule.type()));
  out.set_value(rule.value());
}

void to_api(const control::Applied& applied, api::ChangeSummary& out) {
  out.set_routes_added(applied.routes_added);
  out.set_routes_changed(applied.routes_changed);
  out.set_routes_removed(applied.routes_removed);
  out.set_firewall_rules_added(applied.rules_added);
  out.set_firewall_rules_removed(applied.rules_removed);
  out.set_pools_added(applied.pools_added);
  out.set_pools_changed(applied.pools_changed);
  out.set_pools_removed(applied.pools_removed);
}

void to_api(const control::Effect& effect, api::ChangeEffect& out) {
  out.set_result(to_api(effect.result));
  if (effect.previous.has_value()) out.set_previous_backend(target_of(*effect.previous));
}

void to_api(const policy::GeoIp& geoip, api::GeoIPStatus& out) {
  out.set_type(geoip.type());
  *out.mutable_built_at() = to_timestamp(geoip.built_at());
}

api::LogLevel to_api(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return api::LOG_LEVEL_DEBUG;
    case LogLevel::kInfo:
      return api::LOG_LEVEL_INFO;
    case LogLevel::kWarn:
      return api::LOG_LEVEL_WARN;
    case LogLevel::kError:
      break;
  }
  return api::LOG_LEVEL_ERROR;
}

std::optional<LogLevel> to_log(api::LogLevel level) {
  switch (level) {
    case api::LOG_LEVEL_DEBUG:
      return LogLevel::kDebug;
    case api::LOG_LEVEL_INFO:
      return LogLevel::kInfo;
    case api::LOG_LEVEL_WARN:
      return LogLevel::kWarn;
    case api::LOG_LEVEL_ERROR:
      return LogLevel::kError;
    default:
      return std::nullopt;
  }
}

void to_api(const traffic::Connection& connection, const control::Listeners& listeners,
            std::chrono::system_clock::time_point now, api::Connection& out) {
  if (connection.id.number != 0) out.set_id(connection.id.to_string());
  out.set_listener_addr(listeners.name(connection.listener));
  out.set_client(connection.client.to_string());
  if (connection.via.has_value()) out.set_via(connection.via->to_string());
  out.set_sni(connection.sni);
  if (connection.backend.has_value()) out.set_backend(connection.backend->to_string());
  out.set_route(connection.route);
  out.set_stage(to_api(connection.stage));
  *out.mutable_started_at() = to_timestamp(now - connection.age);
  *out.mutable_idle() = to_duration(connection.idle);
  out.set_bytes_up(connection.bytes_up);
  out.set_bytes_down(connection.bytes_down);
  out.set_pool(connection.pool);
  out.set_tries(connection.tries);
}

ConnectionFilterText to_control(const api::ConnectionFilter& filter) {
  return {.listener = filter.listener_addr(),
          .sni = filter.sni(),
          .source = filter.source(),
          .backend = filter.backend(),
          .id = filter.id(),
          .pool = filter.pool()};
}

api::ServerState state_of(const control::Control& control, const traffic::LiveTraffic& traffic) {
  if (control.stopping()) return api::SERVER_STATE_STOPPING;
  return traffic.accepting() ? api::SERVER_STATE_SERVING : api::SERVER_STATE_PAUSED;
}

google::protobuf::Timestamp to_timestamp(std::chrono::system_clock::time_point time) {
  const auto since_epoch = time.time_since_epoch();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(since_epoch);
  google::protobuf::Timestamp timestamp;
  timestamp.set_seconds(seconds.count());
  timestamp.set_nanos(static_cast<std::int32_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(since_epoch - seconds).count()));
  return timestamp;
}

google::protobuf::Duration to_duration(std::chrono::nanoseconds duration) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(duration);
  google::protobuf::Duration out;
  out.set_seconds(seconds.count());
  out.set_nanos(static_cast<std::int32_t>((duration - seconds).count()));
  return out;
}

// ---- errors

namespace {

// "retries", or "backends[2].address".
std::string path_in_pool(const control::Violation& violation) {
  if (!violation.backend.has_value()) return std::string(violation.field.name);
  return fmt::format("backends[{}].{}", *violation.backend, violation.field.name);
}

// "backend.weight", or a field of the message around the backend: "pool".
std::string path_at_backend(const control::Violation& violation) {
  const bool is_of_backend = violation.field.of == control::Field::Of::kBackend;
  return fmt::format("{}{}", is_of_backend ? "backend." : "", violation.field.name);
}

}  // namespace

std::string path_in_single(const control::Violation& violation) {
  switch (violation.field.of) {
    case control::Field::Of::kRoute:
      return fmt::format("route.{}", violation.field.name);
    case control::Field::Of::kRule:
      return fmt::format("rule.{}", violation.field.name);
    case control::Field::Of::kPool:
      return "pool." + path_in_pool(violation);
    case control::Field::Of::kBackend:
    case control::Field::Of::kRequest:
    case control::Field::Of::kFilter:
      break;
  }
  return std::string(violation.field.name);
}

std::string path_in_remove_route(const control::Violation& violation) {
  return std::string(violation.field.name);
}

std::string path_in_filter(const control::Violation& violation) {
  return fmt::format("filter.{}", violation.field.name);
}

std::string path_in_move(const control::Violation& violation) {
  return violation.index == 0 ? "from_listener_addr" : "to_listener_addr";
}

std::string path_in_routes(const control::Violation& violation) {
  return fmt::format("routes[{}].{}", violation.index, violation.field.name);
}

FieldPath path_in(const api::ApplyChangesRequest& request) {
  return [&request](const control::Violation& violation) {
    const std::string change = fmt::format("changes[{}]", violation.index);
    const std::string_view field = violation.field.name;
    switch (request.changes(static_cast<int>(violation.index)).change_case()) {
      case api::Change::kAddRoute:
        return fmt::format("{}.add_route.route.{}", change, field);
      case api::Change::kPutRoute:
        return fmt::format("{}.put_route.route.{}", change, field);
      case api::Change::kRemoveRoute:
        return fmt::format("{}.remove_route.{}", change, field);
      case api::Change::kAddFirewallRule:
        return fmt::format("{}.add_firewall_rule.{}", change, field);
      case api::Change::kPutFirewallRule:
        return fmt::format("{}.put_firewall_rule.{}", change, field);
      case api::Change::kRemoveFirewallRule:
        return fmt::format("{}.remove_firewall_rule.{}", change, field);
      case api::Change::kAddPool:
        return fmt::format("{}.add_pool.{}", change, path_in_pool(violation));
      case api::Change::kPutPool:
        return fmt::format("{}.put_pool.{}", change, path_in_pool(violation));
      case api::Change::kRemovePool:
        return fmt::format("{}.remove_pool.{}", change, field);
      case api::Change::kAddBackend:
        return fmt::format("{}.add_backend.{}", change, path_at_backend(violation));
      case api::Change::kPutBackend:
        return fmt::format("{}.put_backend.{}", change, path_at_backend(violation));
      case api::Change::kRemoveBackend:
        return fmt::format("{}.remove_backend.{}", change, field);
      case api::Change::kSetBackendState:
        return fmt::format("{}.set_backend_state.{}", change, field);
      case api::Change::CHANGE_NOT_SET:
        break;
    }
    return change;
  };
}

grpc::Status to_status(const control::Refusal& refusal, const FieldPath& path) {
  if (refusal.kind != control::RefusalKind::kInvalid) {
    const std::string at =
        refusal.index.has_value() ? fmt::format("changes[{}]: ", *refusal.index) : "";
    return {code_of(refusal.kind), at + refusal.message};
  }
  google::rpc::BadRequest bad_request;
  for (const control::Violation& violation : refusal.violations) {
    auto& told = *bad_request.add_field_violations();
    told.set_field(path(violation));
    told.set_description(violation.description);
  }
  const auto& first = bad_request.field_violations(0);
  std::string message = fmt::format("{}: {}", first.field(), first.description());
  const std::size_t more = refusal.violations.size() - 1 + refusal.violations_more;
  if (more > 0) message += fmt::format(" (and {} more)", more);
  return with_details(message, bad_request);
}

grpc::Status invalid_argument(const std::string& field, const std::string& description) {
  google::rpc::BadRequest bad_request;
  auto& told = *bad_request.add_field_violations();
  told.set_field(field);
  told.set_description(description);
  return with_details(fmt::format("{}: {}", field, description), bad_request);
}

}  // namespace mc::admin
