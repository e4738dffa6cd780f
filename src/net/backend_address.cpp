// SPDX-License-Identifier: Apache-2.0
#include "net/backend_address.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/ascii.hpp"
#include "base/quote.hpp"
#include "net/unix_socket.hpp"

namespace mc {
namespace {

constexpr std::string_view kUnixPrefix = "unix:";

}  // namespace

Result<BackendAddress> BackendAddress::parse(std::string_view text) {
  if (text.starts_with(kUnixPrefix)) return parse_unix(text);
  if (auto name = read_name(text)) return *std::move(name);
  auto parsed = SocketAddress::parse_zoned(text);
  if (!parsed.has_value()) return std::unexpected(std::move(parsed.error()));
  BackendAddress backend(parsed->address);
  backend.text_ = std::move(parsed->zone);
  return backend;
}

Result<BackendAddress> BackendAddress::parse_unix(std::string_view text) {
  const std::string_view path = text.substr(kUnixPrefix.size());
  // A route is a line of a text, in which "#" begins a comment.
  const auto is_plain = [](char c) { return c > ' ' && c < 0x7f && c != '#'; };
  if (!path.starts_with('/') || !std::ranges::all_of(path, is_plain)) {
    return fail(
        fmt::format("{}: the path of a Unix socket begins with \"/\", and has ASCII "
                    "characters without spaces and \"#\"; write one like "
                    "\"unix:/run/app.sock\"",
                    quote(text)));
  }
  if (path.size() > net::kUnixPathMax) {
    return fail(fmt::format("{}: the path of a Unix socket has at most {} bytes, this has {}",
                            quote(text), net::kUnixPathMax, path.size()));
  }
  BackendAddress backend;
  backend.kind_ = Kind::kUnix;
  backend.text_ = path;
  return backend;
}

// A text that is no name is an address, or meant to be one: then the error is about that. So a host
// of digits and dots alone is no name.
std::optional<BackendAddress> BackendAddress::read_name(std::string_view text) {
  const auto colon = text.find(':');
  if (colon == text.npos || colon != text.rfind(':')) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  if (host.ends_with('.')) host.remove_suffix(1);
  const auto is_of_name = [](char c) {
    return is_letter(c) || is_digit(c) || c == '-' || c == '.' || c == '_';
  };
  const auto is_of_address = [](char c) { return is_digit(c) || c == '.'; };
  if (!std::ranges::all_of(host, is_of_name) || std::ranges::all_of(host, is_of_address)) {
    return std::nullopt;
  }
  const auto port = parse_port(text.substr(colon + 1));
  if (port.value_or(0) == 0) return std::nullopt;
  BackendAddress backend(SocketAddress(IpAddress(), *port));
  backend.kind_ = Kind::kName;
  std::ranges::transform(host, std::back_inserter(backend.text_),
                         [](char c) { return to_lower(c); });
  return backend;
}

std::optional<ConnectAddress> BackendAddress::resolve() const {
  switch (kind_) {
    case Kind::kUnix:
      return ConnectAddress::unix_socket(text_);
    case Kind::kName:
      return std::nullopt;
    case Kind::kIp:
      break;
  }
  if (text_.empty()) return address_;
  const auto address = address_.in_zone(text_);
  if (!address.has_value()) return std::nullopt;
  return *address;
}

std::string BackendAddress::to_string() const {
  switch (kind_) {
    case Kind::kUnix:
      return std::string(kUnixPrefix) + text_;
    case Kind::kName:
      return fmt::format("{}:{}", text_, port());
    case Kind::kIp:
      break;
  }
  if (text_.empty()) return address_.to_string();
  return fmt::format("[{}%{}]:{}", ip().to_string(), text_, port());
}

}  // namespace mc
