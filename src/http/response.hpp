// SPDX-License-Identifier: Apache-2.0
#pragma once
// A response with which its connection ends. Pure; any thread.

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "http/status.hpp"

namespace mc::http {

/// A field of a response. Its name is a token, its value has no control characters (asserted): who
/// makes it of a client's bytes has checked them.
struct Field {
  std::string_view name;
  std::string_view value;
};

/// The response up to its body, with the empty line: `fields`, then Content-Length of `body_bytes`
/// and "Connection: close".
[[nodiscard]] std::string response_head(Status status, std::span<const Field> fields,
                                        std::size_t body_bytes);

/// The whole response.
[[nodiscard]] std::string response(Status status, std::span<const Field> fields,
                                   std::string_view body);

}  // namespace mc::http
