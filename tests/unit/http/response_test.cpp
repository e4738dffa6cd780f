// SPDX-License-Identifier: Apache-2.0
#include "http/response.hpp"

#include <array>

#include "support/catch.hpp"

namespace mc::http {
namespace {

TEST_CASE("a response has its fields, the size of its body, and ends the connection") {
  constexpr auto kFields = std::to_array<Field>({{"Location", "https://example.com/"}, {"A", ""}});
  CHECK(response(Status::kPermanentRedirect, kFields, "moved\n") ==
        "HTTP/1.1 308 Permanent Redirect\r\nLocation: https://example.com/\r\nA: \r\n"
        "Content-Length: 6\r\nConnection: close\r\n\r\nmoved\n");
  CHECK(response(Status::kOk, {}, "") ==
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  CHECK(response_head(Status::kNotFound, {}, 17) ==
        "HTTP/1.1 404 Not Found\r\nContent-Length: 17\r\nConnection: close\r\n\r\n");
}

TEST_CASE("each status has the phrase of its RFC") {
  CHECK(reason_phrase(Status::kBadRequest) == "Bad Request");
  CHECK(reason_phrase(Status::kMethodNotAllowed) == "Method Not Allowed");
  CHECK(reason_phrase(Status::kUriTooLong) == "URI Too Long");
  CHECK(reason_phrase(Status::kHeaderFieldsTooLarge) == "Request Header Fields Too Large");
  CHECK(reason_phrase(Status::kVersionNotSupported) == "HTTP Version Not Supported");
}

}  // namespace
}  // namespace mc::http
