// SPDX-License-Identifier: Apache-2.0
#include "admin/translate_pool.hpp"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>
#include <utility>

#include "admin/translate.hpp"

namespace mc::admin {

namespace api = mc_proxy::v1;

namespace {

using std::chrono::milliseconds;

// The values of an enumeration, here and in the API.
template <class Ours, class Theirs>
using Pairs = std::pair<Ours, Theirs>;

constexpr auto kBalances = std::to_array<Pairs<policy::Balance, api::Balance>>({
    {policy::Balance::kRandomTwo, api::BALANCE_RANDOM_TWO},
    {policy::Balance::kRoundRobin, api::BALANCE_ROUND_ROBIN},
    {policy::Balance::kLeastConnections, api::BALANCE_LEAST_CONNECTIONS},
    {policy::Balance::kHashSource, api::BALANCE_HASH_SOURCE},
    {policy::Balance::kHashName, api::BALANCE_HASH_NAME},
});
constexpr auto kStates = std::to_array<Pairs<policy::AdminState, api::BackendState>>({
    {policy::AdminState::kReady, api::BACKEND_STATE_READY},
    {policy::AdminState::kDrain, api::BACKEND_STATE_DRAIN},
    {policy::AdminState::kMaintenance, api::BACKEND_STATE_MAINTENANCE},
});
constexpr auto kAllDowns = std::to_array<Pairs<policy::AllDown, api::AllDown>>({
    {policy::AllDown::kTry, api::ALL_DOWN_TRY},
    {policy::AllDown::kRefuse, api::ALL_DOWN_REFUSE},
});
constexpr auto kOnDowns = std::to_array<Pairs<policy::OnDown, api::OnDown>>({
    {policy::OnDown::kKeep, api::ON_DOWN_KEEP},
    {policy::OnDown::kReset, api::ON_DOWN_RESET},
});
constexpr auto kCheckKinds = std::to_array<Pairs<policy::CheckKind, api::CheckKind>>({
    {policy::CheckKind::kNone, api::CHECK_KIND_NONE},
    {policy::CheckKind::kTcp, api::CHECK_KIND_TCP},
    {policy::CheckKind::kTls, api::CHECK_KIND_TLS},
});

constexpr auto kSendProxies = std::to_array<Pairs<policy::SendProxy, api::SendProxy>>({
    {policy::SendProxy::kNone, api::SEND_PROXY_NONE},
    {policy::SendProxy::kV1, api::SEND_PROXY_V1},
    {policy::SendProxy::kV2, api::SEND_PROXY_V2},
});
constexpr auto kTlvs = std::to_array<Pairs<bool policy::ProxyTlvs::*, api::SendProxyTlv>>({
    {&policy::ProxyTlvs::authority, api::SEND_PROXY_TLV_AUTHORITY},
    {&policy::ProxyTlvs::unique_id, api::SEND_PROXY_TLV_UNIQUE_ID},
    {&policy::ProxyTlvs::crc32c, api::SEND_PROXY_TLV_CRC32C},
});

template <class Ours, class Theirs, std::size_t n>
Theirs theirs(Ours value, const std::array<Pairs<Ours, Theirs>, n>& pairs) {
  for (const auto& [our, their] : pairs) {
    if (our == value) return their;
  }
  std::unreachable();
}

template <class Ours, class Theirs, std::size_t n>
std::optional<Ours> ours(Theirs value, const std::array<Pairs<Ours, Theirs>, n>& pairs) {
  for (const auto& [our, their] : pairs) {
    if (their == value) return our;
  }
  return std::nullopt;
}

// Sets `into` unless the value is unspecified. Unknown values were refused before.
template <class Ours, class Theirs, std::size_t n>
void read(Theirs value, const std::array<Pairs<Ours, Theirs>, n>& pairs, Ours& into) {
  into = ours(value, pairs).value_or(into);
}

// Larger values stay too large for every limit, and do not become negative.
std::int64_t to_signed(std::uint64_t value) {
  constexpr auto kMost = std::uint64_t{std::numeric_limits<std::int64_t>::max()};
  return static_cast<std::int64_t>(std::min(value, kMost));
}

// Whole milliseconds. Times that do not fit stay out of every range.
milliseconds to_milliseconds(const google::protobuf::Duration& duration) {
  constexpr std::int64_t kMostSeconds = std::int64_t{10'000} * 366 * 86'400;
  const std::int64_t seconds = std::clamp(duration.seconds(), -kMostSeconds, kMostSeconds);
  return std::chrono::floor<milliseconds>(std::chrono::nanoseconds(duration.nanos())) +
         std::chrono::seconds(seconds);
}

void read_check(const api::Check& check, policy::Check& into) {
  read(check.kind(), kCheckKinds, into.kind);
  into.name = check.name();
  if (check.has_interval()) into.interval = to_milliseconds(check.interval());
  if (check.has_fast_interval()) into.fast_interval = to_milliseconds(check.fast_interval());
  if (check.has_timeout()) into.timeout = to_milliseconds(check.timeout());
  if (check.rise() != 0) into.rise = check.rise();
  if (check.fall() != 0) into.fall = check.fall();
}

void read_send_proxy(const api::Pool& pool, policy::PoolSettings& into) {
  read(pool.send_proxy(), kSendProxies, into.send_proxy);
  for (const int value : pool.send_proxy_tlvs()) {
    const auto tlv = ours(static_cast<api::SendProxyTlv>(value), kTlvs);
    if (tlv.has_value()) into.send_proxy_tlvs.*(*tlv) = true;
  }
}

void write_send_proxy(const policy::PoolSettings& settings, api::Pool& out) {
  out.set_send_proxy(theirs(settings.send_proxy, kSendProxies));
  for (const auto& [tlv, value] : kTlvs) {
    if (settings.send_proxy_tlvs.*tlv) out.add_send_proxy_tlvs(value);
  }
}

void write_check(const policy::Check& check, api::Check& out) {
  out.set_kind(theirs(check.kind, kCheckKinds));
  out.set_name(check.name);
  *out.mutable_interval() = to_duration(check.interval);
  *out.mutable_fast_interval() = to_duration(check.fast_interval);
  *out.mutable_timeout() = to_duration(check.timeout);
  out.set_rise(static_cast<std::uint32_t>(check.rise));
  out.set_fall(static_cast<std::uint32_t>(check.fall));
}

void write_backend(const policy::Backend& backend, api::Backend& out) {
  out.set_address(backend.address.to_string());
  out.set_weight(static_cast<std::uint32_t>(backend.weight));
  out.set_backup(backend.backup);
  out.set_max_connections(static_cast<std::uint64_t>(backend.max_connections));
  out.set_state(theirs(backend.state, kStates));
}

// "BALANCE_RANDOM_TWO, BALANCE_ROUND_ROBIN": what may be written.
std::string names_of(const google::protobuf::EnumDescriptor& values) {
  std::string names;
  for (int i = 1; i < values.value_count(); ++i) {  // the first one is unspecified
    names += (names.empty() ? "" : ", ") + values.value(i)->name();
  }
  return names;
}

// What is wrong with the value, unless the enumeration has it.
std::optional<UnknownValue> find_unknown(std::string field, int value,
                                         const google::protobuf::EnumDescriptor* values) {
  if (values->FindValueByNumber(value) != nullptr) return std::nullopt;
  return UnknownValue{std::move(field), fmt::format("{} is no value of {}; write one of {}", value,
                                                    values->name(), names_of(*values))};
}

// Unlike others, an element of a list has no default.
std::optional<UnknownValue> find_unknown_tlv(std::string field, int value) {
  const auto* const values = api::SendProxyTlv_descriptor();
  if (value != api::SEND_PROXY_TLV_UNSPECIFIED) {
    return find_unknown(std::move(field), value, values);
  }
  return UnknownValue{std::move(field),
                      fmt::format("it says nothing; write one of {}", names_of(*values))};
}

std::optional<UnknownValue> within(const std::string& path, std::optional<UnknownValue> found) {
  if (found.has_value()) found->field = path + "." + found->field;
  return found;
}

}  // namespace

policy::BackendText to_control(const api::Backend& backend) {
  policy::BackendText text{.address = backend.address(),
                           .backup = backend.backup(),
                           .max_connections = to_signed(backend.max_connections())};
  if (backend.has_weight()) text.weight = backend.weight();
  read(backend.state(), kStates, text.state);
  return text;
}

policy::PoolText to_control(const api::Pool& pool) {
  policy::PoolText text{.name = pool.name(), .settings = {}, .backends = {}};
  policy::PoolSettings& settings = text.settings;
  read(pool.balance(), kBalances, settings.balance);
  if (pool.hash_prefix_v4() != 0) settings.hash_prefix_v4 = pool.hash_prefix_v4();
  if (pool.hash_prefix_v6() != 0) settings.hash_prefix_v6 = pool.hash_prefix_v6();
  if (pool.has_retries()) settings.retries = pool.retries();
  if (pool.has_dial_budget()) settings.dial_budget = to_milliseconds(pool.dial_budget());
  if (pool.has_slow_start()) settings.slow_start = to_milliseconds(pool.slow_start());
  read(pool.all_down(), kAllDowns, settings.all_down);
  read(pool.on_down(), kOnDowns, settings.on_down);
  read_send_proxy(pool, settings);
  read_check(pool.check(), settings.check);
  text.backends.reserve(static_cast<std::size_t>(pool.backends_size()));
  for (const api::Backend& backend : pool.backends()) text.backends.push_back(to_control(backend));
  return text;
}

std::optional<policy::AdminState> to_state(api::BackendState state) { return ours(state, kStates); }

control::Change to_pool_change(const api::Change& change) {
  switch (change.change_case()) {
    case api::Change::kAddPool:
      return control::AddPool{to_control(change.add_pool())};
    case api::Change::kPutPool:
      return control::PutPool{to_control(change.put_pool())};
    case api::Change::kRemovePool:
      return control::RemovePool{change.remove_pool().name()};
    case api::Change::kAddBackend:
      return control::AddBackend{change.add_backend().pool(),
                                 to_control(change.add_backend().backend())};
    case api::Change::kPutBackend:
      return control::PutBackend{change.put_backend().pool(),
                                 to_control(change.put_backend().backend())};
    case api::Change::kRemoveBackend:
      return control::RemoveBackend{change.remove_backend().pool(),
                                    change.remove_backend().address()};
    case api::Change::kSetBackendState: {
      const api::BackendNewState& asked = change.set_backend_state();
      const auto state = to_state(asked.state());
      // find_unknown() has refused it before.
      if (!state.has_value()) return std::monostate{};
      return control::SetBackendState{asked.pool(), asked.address(), *state};
    }
    default:
      return std::monostate{};
  }
}

void to_api(const policy::Pool& pool, api::Pool& out) {
  const policy::PoolSettings& settings = pool.settings;
  out.set_name(pool.name);
  out.set_balance(theirs(settings.balance, kBalances));
  out.set_hash_prefix_v4(static_cast<std::uint32_t>(settings.hash_prefix_v4));
  out.set_hash_prefix_v6(static_cast<std::uint32_t>(settings.hash_prefix_v6));
  out.set_retries(static_cast<std::uint32_t>(settings.retries));
  *out.mutable_dial_budget() = to_duration(settings.dial_budget);
  *out.mutable_slow_start() = to_duration(settings.slow_start);
  out.set_all_down(theirs(settings.all_down, kAllDowns));
  out.set_on_down(theirs(settings.on_down, kOnDowns));
  write_send_proxy(settings, out);
  write_check(settings.check, *out.mutable_check());
  for (const policy::Backend& backend : pool.backends) {
    write_backend(backend, *out.add_backends());
  }
}

api::BackendHealth to_api(policy::Health health, bool is_ejected) {
  if (is_ejected) return api::BACKEND_HEALTH_EJECTED;
  switch (health) {
    case policy::Health::kUnchecked:
      return api::BACKEND_HEALTH_UNCHECKED;
    case policy::Health::kUp:
      return api::BACKEND_HEALTH_UP;
    case policy::Health::kDown:
      return api::BACKEND_HEALTH_DOWN;
  }
  std::unreachable();
}

void to_api(const policy::LivePool& pool, const policy::LiveBackend& backend, const Moment& at,
            api::BackendStatus& out) {
  const policy::BackendState::Shown shown = backend.state->shown(at.now);
  const policy::ConnectionCounts& counts = backend.state->counts;
  out.set_pool(pool.spec().name);
  out.set_address(backend.spec.address.to_string());
  const BackendAddress& configured = pool.spec().backends[backend.configured].address;
  if (configured != backend.spec.address) out.set_resolved_from(configured.to_string());
  out.set_state(theirs(backend.spec.state, kStates));
  out.set_health(to_api(shown.health, shown.is_ejected));
  if (shown.since != Instant())
    *out.mutable_since() = to_timestamp(at.time - (at.now - shown.since));
  out.set_reason(shown.why);
  out.set_weight(pool.weight_of(backend, at.now));
  out.set_backup(backend.spec.backup);
  out.set_active_connections(counts.active.load(std::memory_order_relaxed));
  out.set_total_connections(counts.connections.load(std::memory_order_relaxed));
  out.set_dial_failures(counts.dial_failures.load(std::memory_order_relaxed));
  out.set_bytes_up(counts.bytes_up.load(std::memory_order_relaxed));
  out.set_bytes_down(counts.bytes_down.load(std::memory_order_relaxed));
  out.set_max_connections(static_cast<std::uint64_t>(backend.spec.max_connections));
}

void to_api_unresolved(const policy::LivePool& pool, std::size_t place,
                       const control::NameFailures& failures, api::BackendStatus& out) {
  const policy::Backend& backend = pool.spec().backends[place];
  const std::string why = failures.why(backend.address.host());
  out.set_pool(pool.spec().name);
  out.set_address(backend.address.to_string());
  out.set_resolved_from(out.address());
  out.set_state(theirs(backend.state, kStates));
  out.set_health(api::BACKEND_HEALTH_DOWN);
  out.set_reason(why.empty() ? "not resolved yet" : "not resolved: " + why);
  out.set_weight(static_cast<std::uint32_t>(backend.weight));
  out.set_backup(backend.backup);
  out.set_max_connections(static_cast<std::uint64_t>(backend.max_connections));
}

void to_api(const policy::LivePool& pool, const Moment& at, const control::NameFailures& failures,
            api::PoolStatus& out) {
  to_api(pool.spec(), *out.mutable_pool());
  auto unresolved = pool.unresolved();
  const auto add_unresolved = [&](std::size_t before) {
    for (; !unresolved.empty() && unresolved.front() < before; unresolved = unresolved.subspan(1)) {
      to_api_unresolved(pool, unresolved.front(), failures, *out.add_backends());
    }
  };
  for (const policy::LiveBackend& backend : pool.backends()) {
    add_unresolved(backend.configured);
    to_api(pool, backend, at, *out.add_backends());
  }
  add_unresolved(pool.spec().backends.size());
}

// ---- values of newer clients

std::optional<UnknownValue> find_unknown(const api::Backend& backend) {
  return find_unknown("state", backend.state(), api::BackendState_descriptor());
}

std::optional<UnknownValue> find_unknown(api::BackendState state) {
  auto unknown = find_unknown("state", state, api::BackendState_descriptor());
  if (unknown.has_value() || state != api::BACKEND_STATE_UNSPECIFIED) return unknown;
  return UnknownValue{
      "state", fmt::format("left out; write one of {}", names_of(*api::BackendState_descriptor()))};
}

std::optional<UnknownValue> find_unknown(const api::Pool& pool) {
  auto found = find_unknown("balance", pool.balance(), api::Balance_descriptor());
  if (!found) found = find_unknown("all_down", pool.all_down(), api::AllDown_descriptor());
  if (!found) found = find_unknown("on_down", pool.on_down(), api::OnDown_descriptor());
  if (!found) found = find_unknown("send_proxy", pool.send_proxy(), api::SendProxy_descriptor());
  for (int i = 0; i < pool.send_proxy_tlvs_size() && !found; ++i) {
    found = find_unknown_tlv(fmt::format("send_proxy_tlvs[{}]", i), pool.send_proxy_tlvs(i));
  }
  if (!found) {
    found = find_unknown("check.kind", pool.check().kind(), api::CheckKind_descriptor());
  }
  for (int i = 0; i < pool.backends_size() && !found; ++i) {
    found = within(fmt::format("backends[{}]", i), find_unknown(pool.backends(i)));
  }
  return found;
}

std::optional<UnknownValue> find_unknown(const api::Change& change) {
  switch (change.change_case()) {
    case api::Change::kAddPool:
      return within("add_pool", find_unknown(change.add_pool()));
    case api::Change::kPutPool:
      return within("put_pool", find_unknown(change.put_pool()));
    case api::Change::kAddBackend:
      return within("add_backend.backend", find_unknown(change.add_backend().backend()));
    case api::Change::kPutBackend:
      return within("put_backend.backend", find_unknown(change.put_backend().backend()));
    case api::Change::kSetBackendState:
      return within("set_backend_state", find_unknown(change.set_backend_state().state()));
    default:
      return std::nullopt;
  }
}

}  // namespace mc::admin
