// SPDX-License-Identifier: Apache-2.0
#include "admin/service.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <grpc/grpc_security_constants.h>
#include <grpcpp/alarm.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <span>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "admin/limits.hpp"
#include "admin/translate.hpp"
#include "admin/translate_pool.hpp"
#include "base/fd.hpp"
#include "base/quote.hpp"
#include "control/limits.hpp"

namespace mc::admin {

namespace api = mc_proxy::v1;

namespace {

// 0, or more than the maximum, means the maximum (AIP-158).
std::size_t page_size(std::uint32_t asked, std::size_t most) {
  return asked == 0 ? most : std::min<std::size_t>(asked, most);
}

// A route's place in a listing.
struct RoutePlace {
  std::string hostname;
  policy::RouteMatch match;
};

using RouteOrder = std::tuple<std::string_view, const policy::RouteMatch&>;

// As a page token: "app.example.com alpn=h2".
std::string token_of(const policy::Route& route) {
  const std::string match = to_words(to_text(route.match));
  return fmt::format("{}{}{}", route.pattern.text(), match.empty() ? "" : " ", match);
}

// A token need not be the name of a route that is still there, so every name is one.
std::optional<RoutePlace> route_place_of(std::string_view token) {
  RoutePlace place{.hostname = std::string(token.substr(0, token.find(' '))), .match = {}};
  policy::RouteMatchText match;
  for (auto at = token.find(' '); at != token.npos; at = token.find(' ', at + 1)) {
    const auto word = token.substr(at + 1, token.find(' ', at + 1) - (at + 1));
    if (!policy::read_word(word, match).has_value()) return std::nullopt;
  }
  auto parsed = policy::parse_match(match);
  if (!parsed.has_value()) return std::nullopt;
  place.match = *std::move(parsed);
  return place;
}

// A rule's place in a listing, as a page token: "cidr 198.51.100.0/24".
std::string token_of(const control::Rule& rule) {
  return fmt::format("{} {}", control::to_string(rule.type()), rule.value());
}

std::optional<control::Rule> rule_of(std::string_view token) {
  const auto space = token.find(' ');
  if (space == token.npos) return std::nullopt;
  const auto type = control::rule_type_of(token.substr(0, space));
  if (!type) return std::nullopt;
  auto rule = control::Rule::parse(*type, token.substr(space + 1));
  if (!rule) return std::nullopt;
  return *std::move(rule);
}

// The first place whose rule comes after `rule`.
std::size_t place_after(const control::RuleSet& rules, const control::Rule& rule) {
  std::size_t low = 0;
  for (std::size_t high = rules.size(); low < high;) {
    const std::size_t middle = low + (high - low) / 2;
    if (rules.at(middle) <= rule) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

// Before anything is copied: a request refused for its size must not cost memory.
constexpr int kItemsMax = static_cast<int>(control::kChangesMax);
grpc::Status too_many(int count, std::string_view what) {
  return {grpc::StatusCode::RESOURCE_EXHAUSTED,
          fmt::format("{} {}; one request takes at most {}: send them in parts", count, what,
                      kItemsMax)};
}

grpc::Status unknown_token(const std::string& token) {
  return invalid_argument("page_token", quote(token) +
                                            ": not a next_page_token of this listing; leave it out "
                                            "to begin with the first page");
}

grpc::Status refuse_unknown(const std::string& message, const UnknownValue& unknown) {
  return invalid_argument(message + unknown.field, unknown.description);
}

// One of a few places, released at the end.
class Permit {
 public:
  explicit Permit(std::atomic<std::size_t>& taken) : taken_(taken), before_(taken.fetch_add(1)) {}
  ~Permit() { taken_.fetch_sub(1); }
  Permit(const Permit&) = delete;
  Permit& operator=(const Permit&) = delete;
  /// How many others were taken.
  [[nodiscard]] std::size_t others() const { return before_; }

 private:
  std::atomic<std::size_t>& taken_;
  const std::size_t before_;
};

// Cancels a call that lasts too long: a client that does not read would keep its place for ever.
class Deadline {
 public:
  Deadline(grpc::ServerContext& context, std::chrono::minutes from_now) {
    alarm_.Set(std::chrono::system_clock::now() + from_now, [&context](bool expired) {
      if (expired) context.TryCancel();
    });
  }
  ~Deadline() { alarm_.Cancel(); }
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;

 private:
  grpc::Alarm alarm_;
};

grpc::Status too_many_connection_calls() {
  return {grpc::StatusCode::RESOURCE_EXHAUSTED,
          fmt::format("{} calls list or close connections already; try again when one is done",
                      kConnectionCallsMax)};
}

// The path of CreateSnapshot's file beside the database, before its number.
std::string snapshot_stem(const std::string& database) { return database + ".snapshot-"; }

grpc::Status send_file(int fd, grpc::ServerWriter<api::CreateSnapshotResponse>& writer) {
  struct stat file{};
  if (::fstat(fd, &file) != 0) {
    return {grpc::StatusCode::INTERNAL, fmt::format("snapshot: {}", std::strerror(errno))};
  }
  api::CreateSnapshotResponse piece;
  piece.set_size(static_cast<std::uint64_t>(file.st_size));
  for (std::uint64_t sent = 0; sent < static_cast<std::uint64_t>(file.st_size);) {
    std::string& chunk = *piece.mutable_chunk();
    chunk.resize(kSnapshotChunkBytes);
    const ssize_t size = ::pread(fd, chunk.data(), chunk.size(), static_cast<off_t>(sent));
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) {
      return {grpc::StatusCode::INTERNAL,
              fmt::format("snapshot: {}", size == 0 ? "cut short" : std::strerror(errno))};
    }
    chunk.resize(static_cast<std::size_t>(size));
    sent += static_cast<std::uint64_t>(size);
    if (!writer.Write(piece)) return {grpc::StatusCode::CANCELLED, "the client has left"};
    piece.Clear();
  }
  return grpc::Status::OK;
}

}  // namespace

Service::Service(control::Control& control, traffic::LiveTraffic& traffic, const LocalSocket* local,
                 const DrainingServers* draining, std::string version, Log& log)
    : control_(control),
      traffic_(traffic),
      local_(local),
      overview_(control, traffic, draining, std::move(version)),
      log_(log),
      configured_level_(log.level()) {}

// Complete ones, and those that the store had begun (".NAME.XXXXXX").
void remove_left_snapshots(const std::string& database) {
  const std::filesystem::path stem = snapshot_stem(database);
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(stem.parent_path(), ignored)) {
    const std::string name = entry.path().filename();
    const std::string own = stem.filename();
    if (name.starts_with(own) || name.starts_with("." + own)) {
      std::filesystem::remove(entry.path(), ignored);
    }
  }
}

std::string Service::who(const grpc::ServerContext& context) const {
  if (local_ != nullptr) {
    if (const auto peer = local_->peer(context.peer())) return describe(*peer);
  }
  const auto credentials = context.auth_context();
  for (const char* const property : {GRPC_X509_SUBJECT_PROPERTY_NAME, GRPC_X509_CN_PROPERTY_NAME}) {
    if (credentials == nullptr) break;
    const auto values = credentials->FindPropertyValues(property);
    if (!values.empty() && !values.front().empty()) {
      return printable({values.front().data(), values.front().size()});
    }
  }
  return context.peer();
}

template <class Request>
control::ChangeOptions Service::options(const grpc::ServerContext& context, const Request& request,
                                        std::string_view action) const {
  control::ChangeOptions options{.who = who(context), .action = action};
  if (request.has_if_revision()) options.if_revision = request.if_revision();
  if constexpr (requires { request.dry_run(); }) options.dry_run = request.dry_run();
  if constexpr (requires { request.cut_established(); }) {
    if (request.has_cut_established()) options.cut_established = request.cut_established();
  }
  return options;
}

template <class Response>
grpc::Status Service::apply_one(control::Change change, const control::ChangeOptions& options,
                                Response& response) {
  auto applied = control_.apply(std::span(&change, 1), options);
  if (!applied.has_value()) {
    applied.error().index.reset();  // the request has no list for an index
    return to_status(applied.error(), std::holds_alternative<control::RemoveRoute>(change)
                                          ? path_in_remove_route
                                          : path_in_single);
  }
  response.set_revision(applied->revision);
  return grpc::Status::OK;
}

// ---- routes

grpc::Status Service::ListRoutes(grpc::ServerContext*, const api::ListRoutesRequest* request,
                                 api::ListRoutesResponse* response) {
  const auto listener = control_.listeners().find(request->listener_addr());
  if (!listener.has_value()) {
    return {grpc::StatusCode::NOT_FOUND, control_.listeners().unknown(request->listener_addr())};
  }
  const auto state = control_.state();
  const auto routes = state->routes[*listener].sorted();
  auto next = routes.begin();
  if (!request->page_token().empty()) {
    const auto last = route_place_of(request->page_token());
    if (!last.has_value()) return unknown_token(request->page_token());
    next = std::ranges::upper_bound(
        routes, RouteOrder(last->hostname, last->match), {}, [](const policy::LiveRoute* route) {
          return RouteOrder(route->spec.pattern.text(), route->spec.match);
        });
  }
  const std::size_t most = page_size(request->page_size(), kRoutesPerPageMax);
  std::size_t bytes = 0;
  for (std::size_t shown = 0; next != routes.end() && shown < most; ++next, ++shown) {
    if (bytes >= kRoutePageBytes) break;
    api::Route& told = *response->add_routes();
    to_api((*next)->spec, told);
    bytes += told.ByteSizeLong();
  }
  if (next != routes.begin() && next != routes.end()) {
    response->set_next_page_token(token_of((*std::prev(next))->spec));
  }
  response->set_revision(state->revision);
  return grpc::Status::OK;
}

grpc::Status Service::AddRoute(grpc::ServerContext* context, const api::AddRouteRequest* request,
                               api::AddRouteResponse* response) {
  return apply_one(control::AddRoute{request->listener_addr(), to_control(request->route())},
                   options(*context, *request, "add_route"), *response);
}

grpc::Status Service::RemoveRoute(grpc::ServerContext* context,
                                  const api::RemoveRouteRequest* request,
                                  api::RemoveRouteResponse* response) {
  return apply_one(
      control::RemoveRoute{request->listener_addr(), request->hostname(), match_of(*request)},
      options(*context, *request, "remove_route"), *response);
}

grpc::Status Service::ReplaceRoutes(grpc::ServerContext* context,
                                    const api::ReplaceRoutesRequest* request,
                                    api::ReplaceRoutesResponse* response) {
  if (request->routes_size() > kItemsMax) return too_many(request->routes_size(), "routes");
  std::vector<policy::RouteText> routes;
  routes.reserve(static_cast<std::size_t>(request->routes_size()));
  for (const api::Route& route : request->routes()) routes.push_back(to_control(route));
  const auto applied = control_.replace_routes(request->listener_addr(), routes,
                                               options(*context, *request, "replace_routes"));
  if (!applied.has_value()) return to_status(applied.error(), path_in_routes);
  response->set_revision(applied->revision);
  to_api(*applied, *response->mutable_summary());
  return grpc::Status::OK;
}

grpc::Status Service::MoveRoutes(grpc::ServerContext* context,
                                 const api::MoveRoutesRequest* request,
                                 api::MoveRoutesResponse* response) {
  const auto moved = control_.move_routes({.from = request->from_listener_addr(),
                                           .to = request->to_listener_addr(),
                                           .keep = request->keep(),
                                           .replace = request->replace()},
                                          options(*context, *request, "move_routes"));
  if (!moved.has_value()) return to_status(moved.error(), path_in_move);
  response->set_revision(moved->revision);
  response->set_routes_moved(moved->routes);
  return grpc::Status::OK;
}

// ---- rules

grpc::Status Service::GetFirewallRules(grpc::ServerContext*,
                                       const api::GetFirewallRulesRequest* request,
                                       api::GetFirewallRulesResponse* response) {
  const auto state = control_.state();
  const control::RuleSet& rules = *state->rules;
  std::size_t place = 0;
  if (!request->page_token().empty()) {
    const auto last = rule_of(request->page_token());
    if (!last.has_value()) return unknown_token(request->page_token());
    place = place_after(rules, *last);
  }
  const std::size_t end =
      std::min(rules.size(), place + page_size(request->page_size(), kRulesPerPageMax));
  for (; place < end; ++place) to_api(rules.at(place), *response->add_rules());
  if (end > 0 && end < rules.size()) response->set_next_page_token(token_of(rules.at(end - 1)));
  response->set_revision(state->revision);
  return grpc::Status::OK;
}

grpc::Status Service::AddFirewallRule(grpc::ServerContext* context,
                                      const api::AddFirewallRuleRequest* request,
                                      api::AddFirewallRuleResponse* response) {
  return apply_one(control::AddRule{to_control(request->rule())},
                   options(*context, *request, "add_firewall_rule"), *response);
}

grpc::Status Service::RemoveFirewallRule(grpc::ServerContext* context,
                                         const api::RemoveFirewallRuleRequest* request,
                                         api::RemoveFirewallRuleResponse* response) {
  return apply_one(control::RemoveRule{to_control(request->rule())},
                   options(*context, *request, "remove_firewall_rule"), *response);
}

// ---- pools

grpc::Status Service::ListPools(grpc::ServerContext*, const api::ListPoolsRequest* request,
                                api::ListPoolsResponse* response) {
  const auto listed = overview_.pools(*request, *response);
  return listed.has_value() ? grpc::Status::OK : to_status(listed.error(), path_in_single);
}

grpc::Status Service::AddPool(grpc::ServerContext* context, const api::AddPoolRequest* request,
                              api::AddPoolResponse* response) {
  if (const auto unknown = find_unknown(request->pool())) return refuse_unknown("pool.", *unknown);
  return apply_one(control::AddPool{to_control(request->pool())},
                   options(*context, *request, "add_pool"), *response);
}

grpc::Status Service::RemovePool(grpc::ServerContext* context,
                                 const api::RemovePoolRequest* request,
                                 api::RemovePoolResponse* response) {
  return apply_one(control::RemovePool{request->name()}, options(*context, *request, "remove_pool"),
                   *response);
}

grpc::Status Service::SetBackendState(grpc::ServerContext* context,
                                      const api::SetBackendStateRequest* request,
                                      api::SetBackendStateResponse* response) {
  const auto state = to_state(request->state());
  if (const auto unknown = find_unknown(request->state())) return refuse_unknown("", *unknown);
  const control::SetBackendState change{request->pool(), request->address(), *state};
  const auto options = this->options(*context, *request, "set_backend_state");
  if (!request->close_sessions()) return apply_one(change, options, *response);
  // Before the change: a call that is refused for its second half has done nothing.
  const Permit permit(connection_calls_);
  if (permit.others() >= kConnectionCallsMax) return too_many_connection_calls();
  if (grpc::Status made = apply_one(change, options, *response); !made.ok()) return made;
  api::CloseConnectionsRequest theirs;
  theirs.mutable_filter()->set_pool(request->pool());
  theirs.mutable_filter()->set_backend(request->address());
  const ConnectionFilterText text = to_control(theirs.filter());
  const auto chosen = overview_.choose(text);
  // Cannot be: the change has read both fields.
  if (!chosen.has_value()) return to_status(chosen.error(), path_in_single);
  response->set_closed(close_connections(*context, theirs, *chosen, text));
  return grpc::Status::OK;
}

// ---- batches

grpc::Status Service::ApplyChanges(grpc::ServerContext* context,
                                   const api::ApplyChangesRequest* request,
                                   api::ApplyChangesResponse* response) {
  if (request->changes_size() > kItemsMax) return too_many(request->changes_size(), "changes");
  std::vector<control::Change> changes;
  changes.reserve(static_cast<std::size_t>(request->changes_size()));
  for (const api::Change& change : request->changes()) {
    if (const auto unknown = find_unknown(change)) {
      return refuse_unknown(fmt::format("changes[{}].", changes.size()), *unknown);
    }
    changes.push_back(to_control(change));
  }
  const auto applied = control_.apply(changes, options(*context, *request, "apply_changes"));
  if (!applied.has_value()) return to_status(applied.error(), path_in(*request));
  response->set_revision(applied->revision);
  to_api(*applied, *response->mutable_summary());
  for (const control::Effect& effect : applied->effects) to_api(effect, *response->add_effects());
  return grpc::Status::OK;
}

// ---- the server

grpc::Status Service::GetStatus(grpc::ServerContext*, const api::GetStatusRequest* request,
                                api::GetStatusResponse* response) {
  overview_.status(request->routes_max(), *response);
  return grpc::Status::OK;
}

grpc::Status Service::CreateSnapshot(grpc::ServerContext* context,
                                     const api::CreateSnapshotRequest*,
                                     grpc::ServerWriter<api::CreateSnapshotResponse>* writer) {
  const Permit permit(snapshots_);
  if (permit.others() >= kSnapshotsMax) {
    return {grpc::StatusCode::RESOURCE_EXHAUSTED,
            fmt::format("{} snapshots are being made already; try again when one is done",
                        kSnapshotsMax)};
  }
  // Beside the database, where there is space for one; unlinked once it is open.
  const std::string path =
      fmt::format("{}{}", snapshot_stem(control_.database_path()), snapshots_made_.fetch_add(1));
  if (const auto made = control_.snapshot(path); !made.has_value()) {
    return {grpc::StatusCode::INTERNAL, made.error().message};
  }
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const int error = errno;
  ::unlink(path.c_str());
  if (!file) {
    return {grpc::StatusCode::INTERNAL,
            fmt::format("snapshot {}: {}", quote(path), std::strerror(error))};
  }
  const Deadline deadline(*context, kSnapshotWaitMax);
  return send_file(file.get(), *writer);
}

grpc::Status Service::ReloadGeoIP(grpc::ServerContext* context, const api::ReloadGeoIPRequest*,
                                  api::ReloadGeoIPResponse* response) {
  const auto reloaded = control_.reload_geoip(who(*context));
  if (!reloaded.has_value()) return to_status(reloaded.error(), path_in_single);
  to_api(**reloaded, *response->mutable_geoip());
  response->set_revision(control_.state()->revision);
  return grpc::Status::OK;
}

// ---- connections

grpc::Status Service::ListConnections(grpc::ServerContext* context,
                                      const api::ListConnectionsRequest* request,
                                      grpc::ServerWriter<api::ListConnectionsResponse>* writer) {
  const auto chosen = overview_.choose(to_control(request->filter()));
  if (!chosen.has_value()) return to_status(chosen.error(), path_in_filter);
  const Permit permit(connection_calls_);
  if (permit.others() >= kConnectionCallsMax) return too_many_connection_calls();
  const Deadline deadline(*context, kListingWaitMax);
  const auto wanted = [context] { return !context->IsCancelled(); };
  const bool complete = overview_.list(
      *request, *chosen, wanted,
      [writer](const api::ListConnectionsResponse& message) { return writer->Write(message); });
  if (!complete) return {grpc::StatusCode::CANCELLED, "the client has left"};
  return grpc::Status::OK;
}

grpc::Status Service::CloseConnections(grpc::ServerContext* context,
                                       const api::CloseConnectionsRequest* request,
                                       api::CloseConnectionsResponse* response) {
  const ConnectionFilterText text = to_control(request->filter());
  if (text.empty() && !request->all()) {
    return invalid_argument("filter",
                            "empty, which means every connection; set `all` to close them");
  }
  if (!text.empty() && request->all()) {
    return invalid_argument("all", "set together with a filter; leave one of them out");
  }
  const auto chosen = overview_.choose(text);
  if (!chosen.has_value()) return to_status(chosen.error(), path_in_filter);
  const Permit permit(connection_calls_);
  if (permit.others() >= kConnectionCallsMax) return too_many_connection_calls();
  response->set_closed(close_connections(*context, *request, *chosen, text));
  return grpc::Status::OK;
}

std::uint64_t Service::close_connections(const grpc::ServerContext& context,
                                         const api::CloseConnectionsRequest& request,
                                         const Overview::Choice& chosen,
                                         const ConnectionFilterText& text) {
  const auto wanted = [&context] { return !context.IsCancelled(); };
  const auto closed = overview_.close(request, chosen, wanted);
  if (!request.dry_run() && !chosen.own.empty()) {
    log_.info("connections closed",
              {{"filter", text.describe()}, {"closed", closed.own}, {"by", who(context)}});
  }
  return closed.own + closed.of_draining;
}

// ---- events

grpc::Status Service::WatchEvents(grpc::ServerContext* context,
                                  const api::WatchEventsRequest* request,
                                  grpc::ServerWriter<api::WatchEventsResponse>* writer) {
  const Permit permit(watches_);
  if (permit.others() >= kWatchesMax) {
    return {grpc::StatusCode::RESOURCE_EXHAUSTED,
            fmt::format("{} watch already; try again when one has ended", kWatchesMax)};
  }
  return EventStream(control_, traffic_, streams_end_, *context, *writer).run(*request);
}

// ---- the log

grpc::Status Service::GetLogLevel(grpc::ServerContext*, const api::GetLogLevelRequest*,
                                  api::GetLogLevelResponse* response) {
  response->set_level(to_api(log_.level()));
  response->set_configured(to_api(configured_level_));
  return grpc::Status::OK;
}

grpc::Status Service::SetLogLevel(grpc::ServerContext* context,
                                  const api::SetLogLevelRequest* request,
                                  api::SetLogLevelResponse* response) {
  const auto level = to_log(request->level());
  if (!level.has_value()) {
    return invalid_argument("level",
                            "not a level; write LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN or "
                            "LOG_LEVEL_ERROR");
  }
  const std::lock_guard lock(level_change_);
  const LogLevel before = log_.level();
  // Logged at the more verbose of the two levels, so that silencing the log is logged too.
  const LogLevel told_at = std::min(before, *level);
  log_.set_level(told_at);
  const std::string by = who(*context);
  const Log::Fields fields{
      {"log_level", to_string(*level)}, {"previous", to_string(before)}, {"by", by}};
  constexpr std::string_view kMessage = "log level changed";
  told_at <= LogLevel::kInfo ? log_.info(kMessage, fields) : log_.warn(kMessage, fields);
  log_.set_level(*level);
  response->set_level(to_api(*level));
  response->set_previous(to_api(before));
  response->set_configured(to_api(configured_level_));
  return grpc::Status::OK;
}

}  // namespace mc::admin
