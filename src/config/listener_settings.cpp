// SPDX-License-Identifier: Apache-2.0
#include "config/listener_settings.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "base/duration.hpp"
#include "base/quote.hpp"
#include "config/limits.hpp"
#include "config/values.hpp"
#include "net/ip.hpp"
#include "policy/pool.hpp"

namespace mc::config {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view kProxyProtocolKeys[] = {"from", "required", "others", "timeout"};
constexpr std::string_view kSilentKeys[] = {"after", "pool"};
constexpr std::string_view kFromExample = "\"192.0.2.10\"";

// A name that is well formed; whether there is such a pool is the caller's question.
std::string read_pool_name(const Node& place, std::vector<Node>& pools, Problems& problems) {
  auto name = parse_with(policy::parse_pool_name, place, problems);
  if (!name.has_value()) return {};
  pools.push_back(place);
  return *std::move(name);
}

void read_pool(const Section& section, std::string_view key, std::string& target,
               std::vector<Node>& pools, Problems& problems) {
  const auto place = section.get(key, TomlType::kString, "\"app\"");
  if (place) target = read_pool_name(*place, pools, problems);
}

void read_senders(const Section& section, policy::ProxyHeaderSettings& header, Problems& problems) {
  const std::string example = fmt::format("[{}]", kFromExample);
  const auto array = section.require("from", TomlType::kArray, example);
  if (!array) return;
  const auto& elements = array->value->elements;
  if (elements.empty()) {
    problems.add(array->value->position, array->path,
                 fmt::format("{} names no proxy; write from = {}, or leave out proxy_protocol",
                             array->path, example));
  } else if (elements.size() > kSendersMax) {
    problems.add(elements[kSendersMax].position, array->path,
                 fmt::format("{}: there are {}, but at most {} are possible; write larger blocks",
                             array->path, elements.size(), kSendersMax));
  } else {
    header.from =
        read_set(section, "from", kFromExample, IpPrefix::parse_block_or_address, problems);
  }
}

void read_proxy_header(const Section& listener, policy::ListenerSettings& settings,
                       Problems& problems) {
  const auto table = listener.get("proxy_protocol", TomlType::kTable,
                                  fmt::format("{{ from = [{}] }}", kFromExample));
  if (!table) return;
  const Section section(*table->value, table->path, kProxyProtocolKeys, problems);
  policy::ProxyHeaderSettings& header = settings.proxy_header.emplace();
  read_senders(section, header, problems);
  section.read_boolean("required", header.is_required);
  section.read_choice<bool>("others", {{"refuse", false}, {"direct", true}}, header.admits_others);
  section.read_duration("timeout", kProxyHeaderTimeoutMin, kTimeoutMax, header.timeout);
  // Where everyone must send a header, something in front of the listener admits the proxies alone.
  // Where anyone may send one, every client can choose its address.
  const bool is_everyone =
      std::ranges::any_of(header.from, [](const IpPrefix& one) { return one.length() == 0; });
  if (!is_everyone || header.is_required) return;
  const auto required = section.get("required", TomlType::kBoolean, "true");
  problems.add(*required->value, required->path,
               "from has every address, so any client could choose the address that it is taken "
               "for; write the proxies' own addresses in from, or required = true");
}

// What listeners and redirects have in common.
policy::ListenerSettings read_common(const Section& section, const Proxy& proxy,
                                     Problems& problems) {
  policy::ListenerSettings settings;
  settings.hello_timeout = proxy.hello_timeout;
  settings.idle_timeout = proxy.idle_timeout;
  section.read_duration("hello_timeout", 1ms, kTimeoutMax, settings.hello_timeout);
  std::int64_t connections = 0;
  section.read_integer("max_connections", 0, kConnectionsMax, connections);
  settings.connections_max = static_cast<std::uint64_t>(connections);
  read_proxy_header(section, settings, problems);
  return settings;
}

void read_silent(const Section& listener, policy::ListenerSettings& settings,
                 std::vector<Node>& pools, Problems& problems) {
  const auto table = listener.get("silent", TomlType::kTable, "{ after = \"2s\", pool = \"app\" }");
  if (!table) return;
  const Section section(*table->value, table->path, kSilentKeys, problems);
  policy::SilentSettings& silent = settings.silent.emplace();
  if (const auto pool = section.require("pool", TomlType::kString, "\"app\"")) {
    silent.pool = read_pool_name(*pool, pools, problems);
  }
  const std::size_t problems_before = problems.size();
  silent.after = 2s;
  if (!section.require("after", TomlType::kString, "\"2s\"")) return;
  section.read_duration("after", kSilentMin, kTimeoutMax, silent.after);
  if (problems.size() > problems_before || silent.after < settings.hello_timeout) return;
  const auto after = section.get("after", TomlType::kString, "\"2s\"");
  problems.add(*after->value, after->path,
               fmt::format("the client is refused before, by hello_timeout, which is {} here; "
                           "write a shorter duration",
                           quote(format_duration(settings.hello_timeout))));
}

// The place of a name in [[listeners]]. A listener without a name has a problem already, and could
// be the one that is meant.
std::optional<std::size_t> find_listener(const Node& place, std::span<const Listener> listeners,
                                         Problems& problems) {
  std::string names;
  for (std::size_t i = 0; i < listeners.size(); ++i) {
    if (listeners[i].name == place.value->text || listeners[i].name.empty()) return i;
    names += (names.empty() ? "" : " or ") + quote(listeners[i].name);
  }
  if (listeners.empty()) return std::nullopt;  // which is a problem already
  problems.add(*place.value, place.path,
               fmt::format("no table of [[listeners]] has this addr; write {}", names));
  return std::nullopt;
}

std::vector<std::size_t> read_redirected(const Section& section,
                                         std::span<const Listener> listeners, Problems& problems) {
  std::vector<std::size_t> places;
  if (!section.has("listeners")) {
    for (std::size_t i = 0; i < listeners.size(); ++i) places.push_back(i);
    return places;
  }
  const auto array = section.get("listeners", TomlType::kArray, "[\":443\"]");
  if (!array) return places;
  if (array->value->elements.empty()) {
    problems.add(array->value->position, array->path,
                 fmt::format("{} names no listener, so no name would be redirected; write one, or "
                             "leave it out for all",
                             array->path));
  }
  std::map<std::size_t, Node> seen;
  for (const Node& place : section.strings("listeners", "\":443\"")) {
    const auto found = find_listener(place, listeners, problems);
    if (!found) continue;
    const auto [first, is_new] = seen.try_emplace(*found, place);
    if (is_new) {
      places.push_back(*found);
    } else if (!listeners[*found].name.empty()) {
      problems.add(*place.value, place.path,
                   fmt::format("the same as {}; remove one", first->second.path));
    }
  }
  return places;
}

}  // namespace

policy::ListenerSettings read_listener_settings(const Section& section, const Proxy& proxy,
                                                std::vector<Node>& pools, Problems& problems) {
  policy::ListenerSettings settings = read_common(section, proxy, problems);
  section.read_duration("idle_timeout", 0ms, kTimeoutMax, settings.idle_timeout);
  read_pool(section, "no_sni", settings.no_sni, pools, problems);
  read_pool(section, "not_tls", settings.not_tls, pools, problems);
  read_silent(section, settings, pools, problems);
  section.read_choice<policy::Refusal>(
      "refuse", {{"reset", policy::Refusal::kReset}, {"alert", policy::Refusal::kAlert}},
      settings.refusal);
  section.read_choice<policy::Starttls>("starttls", {{"postgres", policy::Starttls::kPostgres}},
                                        settings.starttls);
  return settings;
}

policy::ListenerSettings read_redirect_settings(const Section& section, const Proxy& proxy,
                                                const SocketAddress& own,
                                                std::span<const Listener> listeners,
                                                std::vector<Node>& pools, Problems& problems) {
  policy::ListenerSettings settings = read_common(section, proxy, problems);
  policy::RedirectSettings& redirect = settings.redirect.emplace();
  redirect.listeners = read_redirected(section, listeners, problems);
  read_pool(section, "challenge_pool", redirect.challenge_pool, pools, problems);
  std::int64_t port = redirect.port;
  section.read_integer("port", 1, 65'535, port);
  redirect.port = static_cast<std::uint16_t>(port);
  if (redirect.port == own.port()) {
    problems.add(section.position(), section.path_of("port"),
                 fmt::format("{}: clients would be redirected to port {}, where this redirect "
                             "itself listens; write the port where they reach a listener",
                             section.path_of("port"), redirect.port));
  }
  return settings;
}

}  // namespace mc::config
