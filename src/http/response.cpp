// SPDX-License-Identifier: Apache-2.0
#include "http/response.hpp"

#include <fmt/format.h>

#include <iterator>

#include "base/assert.hpp"
#include "http/characters.hpp"

namespace mc::http {

std::string response_head(Status status, std::span<const Field> fields, std::size_t body_bytes) {
  std::string head =
      fmt::format("HTTP/1.1 {} {}\r\n", static_cast<unsigned>(status), reason_phrase(status));
  for (const Field& field : fields) {
    MC_ASSERT(is_token(field.name) && is_field_value(field.value), "a field would become two");
    fmt::format_to(std::back_inserter(head), "{}: {}\r\n", field.name, field.value);
  }
  fmt::format_to(std::back_inserter(head), "Content-Length: {}\r\nConnection: close\r\n\r\n",
                 body_bytes);
  return head;
}

std::string response(Status status, std::span<const Field> fields, std::string_view body) {
  return response_head(status, fields, body.size()).append(body);
}

}  // namespace mc::http
