// SPDX-License-Identifier: Apache-2.0
#include "control/state.hpp"

#include <fmt/format.h>
#include <sys/socket.h>

#include "base/fd.hpp"
#include "base/quote.hpp"
#include "config/rules.hpp"

namespace mc::control {
namespace {

// Connecting a UDP socket sends nothing: the kernel only chooses the local address of a connection
// to `address`, which for an address of this machine is that address itself. Any process may do
// this, even one that may use no other kind of socket.
bool is_of_this_machine(const SocketAddress& address) {
  const Fd fd(::socket(address.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0));
  SocketAddress local;
  socklen_t size = SocketAddress::kCapacity;
  return fd && ::connect(fd.get(), address.data(), address.size()) == 0 &&
         ::getsockname(fd.get(), local.data(), &size) == 0 && local.ip() == address.ip();
}

}  // namespace

Listeners::Listeners(const std::vector<config::Listener>& configured) {
  for (const config::Listener& listener : configured) {
    const policy::ListenerSettings& settings = listener.settings;
    listeners_.push_back({.name = listener.name,
                          .addr = listener.addr,
                          .only_redirects = settings.redirect.has_value(),
                          .pools = pools_named_by(settings)});
  }
}

std::optional<std::size_t> Listeners::find(std::string_view name) const {
  if (const auto found = find_name(name)) return found;
  const auto address = SocketAddress::parse_listen(name);
  if (!address.has_value() || address->port() == 0) return std::nullopt;
  for (std::size_t i = 0; i < listeners_.size(); ++i) {
    if (listeners_[i].addr == *address) return i;
  }
  return std::nullopt;
}

std::optional<std::size_t> Listeners::find_name(std::string_view name) const {
  for (std::size_t i = 0; i < listeners_.size(); ++i) {
    if (listeners_[i].name == name) return i;
  }
  return std::nullopt;
}

std::string Listeners::unknown(std::string_view name) const {
  std::string names;
  for (const Listener& listener : listeners_) {
    names += (names.empty() ? "" : ", ") + quote(listener.name);
  }
  return fmt::format("no listener {}; there are {}", quote(name), names);
}

std::string Listeners::no_routes(std::size_t index) const {
  return fmt::format("the listener {} only redirects, it has no routes; name one of [[listeners]]",
                     quote(name(index)));
}

std::optional<std::size_t> Listeners::reached_by(const BackendAddress& backend) const {
  if (backend.kind() != BackendAddress::Kind::kIp) return std::nullopt;
  for (std::size_t i = 0; i < listeners_.size(); ++i) {
    if (config::leads_back(backend, listeners_[i].addr)) return i;
    if (listeners_[i].addr.takes(backend.address()) && is_of_this_machine(backend.address())) {
      return i;
    }
  }
  return std::nullopt;
}

std::unique_ptr<const policy::Policy> State::policy() const {
  return std::make_unique<const policy::Policy>(
      revision, std::make_shared<const policy::Firewall>(firewall), routes, pools);
}

}  // namespace mc::control
