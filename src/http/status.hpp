// SPDX-License-Identifier: Apache-2.0
#pragma once
// The status codes that mc-proxy itself returns. Pure; any thread.

#include <cstdint>
#include <string_view>

namespace mc::http {

/// A status code (RFC 9110 section 15; 431 is RFC 6585 section 5).
enum class Status : std::uint16_t {
  kOk = 200,
  kPermanentRedirect = 308,
  kBadRequest = 400,
  kNotFound = 404,
  kMethodNotAllowed = 405,
  kUriTooLong = 414,
  kHeaderFieldsTooLarge = 431,
  kVersionNotSupported = 505,
};

/// "Not Found": what stands behind the code in a status line.
constexpr std::string_view reason_phrase(Status status) {
  switch (status) {
    case Status::kOk:
      return "OK";
    case Status::kPermanentRedirect:
      return "Permanent Redirect";
    case Status::kBadRequest:
      return "Bad Request";
    case Status::kNotFound:
      return "Not Found";
    case Status::kMethodNotAllowed:
      return "Method Not Allowed";
    case Status::kUriTooLong:
      return "URI Too Long";
    case Status::kHeaderFieldsTooLarge:
      return "Request Header Fields Too Large";
    case Status::kVersionNotSupported:
      return "HTTP Version Not Supported";
  }
  return "";
}

}  // namespace mc::http
