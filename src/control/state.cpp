// SPDX-License-Identifier: Apache-2.0
#include "control/state.hpp"

#include <fmt/format.h>

#include "base/quote.hpp"
#include "config/rules.hpp"

namespace mc::control {

Listeners::Listeners(const std::vector<config::Listener>& configured) {
  for (const config::Listener& listener : configured) {
    listeners_.push_back({listener.name, listener.addr});
  }
}

std::optional<std::size_t> Listeners::find(std::string_view name) const {
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

std::optional<std::size_t> Listeners::reached_by(const SocketAddress& backend) const {
  for (std::size_t i = 0; i < listeners_.size(); ++i) {
    if (config::leads_back(backend, listeners_[i].addr)) return i;
  }
  return std::nullopt;
}

std::unique_ptr<const policy::Policy> State::policy() const {
  return std::make_unique<const policy::Policy>(
      revision, std::make_shared<const policy::Firewall>(firewall), routes);
}

}  // namespace mc::control
