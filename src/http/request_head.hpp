// SPDX-License-Identifier: Apache-2.0
#pragma once
// The head of an HTTP/1.0 or 1.1 request (RFC 9112): its request line, and of its fields the Host.
// Strict where two readers could see two requests: lines end with CR LF, no field is folded, there
// is one Host at the most. For servers that answer one request on a connection and then close it,
// so a body is nobody's concern. Pure; any thread.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <variant>

#include "http/limits.hpp"
#include "http/status.hpp"

namespace mc::http {

/// A whole and well-formed head. Its texts are parts of the bytes that were parsed.
struct RequestHead {
  std::string_view method;  // a token, in the case that was sent
  std::string_view target;  // not empty, printing ASCII; in no particular form
  std::uint8_t minor_version = 0;
  /// The Host field's value, which is any text. Nothing if there is no such field, which RFC 9112
  /// section 3.2 allows only in HTTP/1.0: for the caller to refuse.
  std::optional<std::string_view> host;
  std::size_t size = 0;  // bytes, the empty line included
};

/// So far the bytes are the start of a head. Their number is below kHeadBytesMax.
struct Incomplete {};

/// No head that is served begins with these bytes, whatever follows.
struct Malformed {
  Status status = Status::kBadRequest;
};

using HeadResult = std::variant<RequestHead, Incomplete, Malformed>;

/// Reads the bytes that a client has sent so far. Malformed is: kBadRequest; kVersionNotSupported
/// for another version than 1.0 and 1.1; beyond kHeadBytesMax, kUriTooLong if it is the request
/// line that has not ended, else kHeaderFieldsTooLarge.
[[nodiscard]] HeadResult parse_request_head(std::string_view bytes);

}  // namespace mc::http
