// SPDX-License-Identifier: Apache-2.0
#include "server/check_network.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>

#include "base/fd.hpp"
#include "base/quote.hpp"
#include "control/listener_pools.hpp"
#include "dns/settings.hpp"
#include "net/socket_address.hpp"

namespace mc::server {
namespace {

// 0, or why no connection can be made from the address.
int try_to_bind(const IpAddress& source) {
  const SocketAddress address(source, 0);
  const Fd fd(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  return fd && ::bind(fd.get(), address.data(), address.size()) == 0 ? 0 : errno;
}

// The name servers of resolv.conf(5), as they stand there.
std::vector<std::string> servers_in(std::istream& file) {
  std::vector<std::string> servers;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string keyword;
    std::string server;
    if (words >> keyword >> server && keyword == "nameserver") servers.push_back(printable(server));
  }
  return servers;
}

}  // namespace

void check_sources(Findings& findings, const std::vector<IpAddress>& sources) {
  std::vector<std::string> usable;
  for (const IpAddress& source : sources) {
    const std::string text = source.to_string();
    const int error = try_to_bind(source);
    if (error == 0) {
      usable.push_back(text);
    } else if (error == EADDRNOTAVAIL) {
      findings.add("sources",
                   fmt::format("{}: no interface has this address, so no backend can be dialled "
                               "from it; add it (ip address add {}/{} dev lo), or remove it from "
                               "[proxy] sources",
                               text, text, IpPrefix::only(source).length()),
                   Finding::kNote);
    } else {
      findings.add("sources", fmt::format("{}: {}", text, std::strerror(error)), Finding::kNote);
    }
  }
  if (usable.empty()) return;
  findings.add("sources", fmt::format("backends are dialled from {}", fmt::join(usable, ", ")));
}

void check_dns(Findings& findings, const config::Dns& dns) {
  if (!dns.servers.empty()) {
    std::vector<std::string> servers;
    for (const SocketAddress& server : dns.servers) servers.push_back(server.to_string());
    findings.add("dns", fmt::format("{}", fmt::join(servers, ", ")));
    return;
  }
  const std::string resolv_conf = dns::Settings().resolv_conf;
  std::ifstream file(resolv_conf);
  if (!file) {
    findings.add(
        "dns",
        fmt::format("{} cannot be read ({}): no name of a backend can be resolved; make it "
                    "readable, or write [dns] servers",
                    resolv_conf, std::strerror(errno)),
        Finding::kNote);
    return;
  }
  const std::vector<std::string> servers = servers_in(file);
  if (servers.empty()) {
    findings.add("dns",
                 fmt::format("{} names no server, so 127.0.0.1 is asked; write [dns] servers if "
                             "backends have names",
                             resolv_conf),
                 Finding::kNote);
    return;
  }
  findings.add("dns", fmt::format("{}, of {}", fmt::join(servers, ", "), resolv_conf));
}

void check_named_pools(Findings& findings, const config::Config& config,
                       const control::State& state) {
  for (const config::Listener& listener : config.listeners) {
    for (const control::PoolUse& use : control::pools_named_by(listener.settings)) {
      if (state.pools->contains(use.pool)) continue;
      findings.add("pools",
                   fmt::format("{} sends {} to pool {}, which the database does not have; they are "
                               "refused until it is added: mc-proxy pools add",
                               listener.name, use.clients, quote(use.pool)),
                   Finding::kNote);
    }
  }
}

}  // namespace mc::server
