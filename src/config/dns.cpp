// SPDX-License-Identifier: Apache-2.0
#include "config/dns.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/duration.hpp"
#include "base/quote.hpp"
#include "config/limits.hpp"
#include "config/values.hpp"

namespace mc::config {
namespace {

constexpr std::string_view kDnsKeys[] = {"servers", "ttl_min", "ttl_max", "family"};
constexpr std::uint16_t kDnsPort = 53;

std::vector<SocketAddress> read_servers(const Section& section, Problems& problems) {
  std::vector<SocketAddress> servers;
  for (const Node& place : section.strings("servers", "\"127.0.0.53\"")) {
    const auto server = parse_with(parse_dns_server, place, problems);
    if (!server) continue;
    if (std::ranges::find(servers, *server) != servers.end()) {
      problems.add(*place.value, place.path, "the server is there already; remove one");
    } else if (servers.size() == kDnsServersMax) {
      problems.add(
          *place.value, place.path,
          fmt::format("at most {} servers are possible; remove the others", kDnsServersMax));
      break;
    } else {
      servers.push_back(*server);
    }
  }
  return servers;
}

}  // namespace

Result<SocketAddress> parse_dns_server(std::string_view text) {
  const auto ip = IpAddress::parse(text);
  auto server = ip.has_value() ? Result<SocketAddress>(SocketAddress(*ip, kDnsPort))
                               : SocketAddress::parse(text);
  if (!server.has_value()) {
    return fail(
        fmt::format("{}: not the IP address of a name server; write one like "
                    "\"127.0.0.53\", or with its port \"127.0.0.1:5353\"",
                    quote(text)));
  }
  if (server->ip().is_unspecified() || server->ip().is_multicast()) {
    return fail(
        fmt::format("{}: no server has this address; write one like \"127.0.0.53\"", quote(text)));
  }
  if (server->ip().is_link_local()) {
    return fail(
        fmt::format("{}: a link-local server cannot be asked without its interface, which has no "
                    "place here; write another address of the server",
                    quote(text)));
  }
  return server;
}

Dns read_dns(const Section& root, Problems& problems) {
  Dns dns;
  const auto table = root.table("dns");
  if (!table) return dns;
  const Section section(*table->value, table->path, kDnsKeys, problems);
  dns.servers = read_servers(section, problems);
  section.read_choice<DnsFamily>(
      "family", {{"any", DnsFamily::kAny}, {"ipv4", DnsFamily::kIpv4}, {"ipv6", DnsFamily::kIpv6}},
      dns.family);
  const std::size_t problems_before = problems.size();
  section.read_duration("ttl_min", kDnsTtlMin, kTimeoutMax, dns.ttl_min);
  section.read_duration("ttl_max", kDnsTtlMin, kTimeoutMax, dns.ttl_max);
  if (problems.size() > problems_before || dns.ttl_min <= dns.ttl_max) return dns;
  problems.add(section.position(), section.path_of("ttl_max"),
               fmt::format("{} is {}, shorter than ttl_min, which is {}; write one that is not",
                           section.path_of("ttl_max"), quote(format_duration(dns.ttl_max)),
                           quote(format_duration(dns.ttl_min))));
  return dns;
}

}  // namespace mc::config
