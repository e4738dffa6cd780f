// SPDX-License-Identifier: Apache-2.0
#include "net/backend_address.hpp"

#include <fmt/format.h>

#include <utility>

namespace mc {

Result<BackendAddress> BackendAddress::parse(std::string_view text) {
  auto parsed = SocketAddress::parse_zoned(text);
  if (!parsed.has_value()) return std::unexpected(std::move(parsed.error()));
  BackendAddress backend(parsed->address);
  backend.interface_ = std::move(parsed->zone);
  return backend;
}

std::optional<SocketAddress> BackendAddress::resolve() const {
  return interface_.empty() ? std::optional(address_) : address_.in_zone(interface_);
}

std::string BackendAddress::to_string() const {
  if (interface_.empty()) return address_.to_string();
  return fmt::format("[{}%{}]:{}", ip().to_string(), interface_, port());
}

}  // namespace mc
