// SPDX-License-Identifier: Apache-2.0
#include "http/request_head.hpp"

#include <string>
#include <vector>

#include "support/catch.hpp"

namespace mc::http {
namespace {

constexpr std::string_view kLine = "GET / HTTP/1.1\r\n";

// "200" for a head, "incomplete", or the status of what is malformed.
std::string verdict(std::string_view bytes) {
  const HeadResult result = parse_request_head(bytes);
  if (std::holds_alternative<Incomplete>(result)) return "incomplete";
  const auto* const malformed = std::get_if<Malformed>(&result);
  return std::to_string(malformed == nullptr ? 200 : static_cast<int>(malformed->status));
}

std::string with_fields(std::string_view fields) {
  return std::string(kLine).append(fields).append("\r\n");
}

RequestHead head(std::string_view bytes) {
  INFO(bytes);
  const HeadResult result = parse_request_head(bytes);
  REQUIRE(std::holds_alternative<RequestHead>(result));
  return std::get<RequestHead>(result);
}

TEST_CASE("a head is its request line and its Host, up to the empty line") {
  const std::string_view bytes =
      "POST /a?b=c HTTP/1.1\r\nAccept: */*\r\nhOST: \t example.com:80 \t\r\nX:\r\n\r\n";
  const RequestHead read = head(bytes);
  CHECK(read.method == "POST");
  CHECK(read.target == "/a?b=c");
  CHECK(read.minor_version == 1);
  CHECK(read.host == "example.com:80");
  CHECK(read.size == bytes.size());
  const RequestHead followed = head(std::string(bytes) + "body\r\n\r\n");
  CHECK(followed.size == bytes.size());
}

TEST_CASE("a head may have no Host, and an empty one") {
  CHECK_FALSE(head("GET / HTTP/1.0\r\n\r\n").host.has_value());
  CHECK(head("GET / HTTP/1.0\r\n\r\n").minor_version == 0);
  CHECK_FALSE(head(with_fields("")).host.has_value());
  CHECK(head(with_fields("Host:\r\n")).host == "");
}

TEST_CASE("every prefix of a head is waited on") {
  const std::string whole = with_fields("Host: example.com\r\nA: b\r\n");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CHECK(verdict(whole.substr(0, size)) == "incomplete");
  }
  CHECK(verdict(whole) == "200");
}

TEST_CASE("a request line has a token, a target and a version, one space apart") {
  for (const char* const line : {"",
                                 " ",
                                 "GET",
                                 "GET /",
                                 "GET / ",
                                 "GET  HTTP/1.1",
                                 "GET  / HTTP/1.1",
                                 "GET /  HTTP/1.1",
                                 " GET / HTTP/1.1",
                                 "GET / HTTP/1.1 ",
                                 "GET\t/ HTTP/1.1",
                                 "G:T / HTTP/1.1",
                                 "GET / a HTTP/1.1",
                                 "GET /\xc3\xa4 HTTP/1.1",
                                 "GET / http/1.1",
                                 "GET / HTTP/1",
                                 "GET / HTTP/11",
                                 "GET / HTTP/1.10",
                                 "GET / HTTP/3",
                                 "GET / HTTPS1.1",
                                 "GET / HTTP/1,1",
                                 "GET / HTTP/x.1"}) {
    INFO(line);
    CHECK(verdict(std::string(line) + "\r\n") == "400");
  }
}

TEST_CASE("another version than 1.0 and 1.1 is told so") {
  for (const char* const version : {"0.9", "1.2", "2.0", "3.0"}) {
    CHECK(verdict("GET / HTTP/" + std::string(version) + "\r\n") == "505");
  }
  CHECK(verdict("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == "505");
}

TEST_CASE("what two readers could understand differently is refused") {
  for (const char* const fields :
       {"Host: a\r\nHost: a\r\n", "Host: a\r\nhost:\r\n", "A: b\r\n c\r\n", " A: b\r\n",
        "\tA: b\r\n", "A : b\r\n", "A\t: b\r\n", "A\r\n", ": b\r\n", "A b: c\r\n", "A: b\n",
        "A: b\r\r\n", "A: b\rc: d\r\n", "A: \x01\r\n", "A: \x7f\r\n"}) {
    INFO(fields);
    CHECK(verdict(with_fields(fields)) == "400");
  }
  CHECK(verdict(with_fields(std::string("A: b\0c\r\n", 8))) == "400");
  CHECK(verdict("GET / HTTP/1.1\n\n") == "400");
  CHECK(verdict("GET / HTTP/1.1\nHost: a\r\n\r\n") == "400");
  CHECK(verdict(std::string(kLine) + "\n") == "400");
  CHECK(verdict("\r\nGET / HTTP/1.1\r\n\r\n") == "400");
}

TEST_CASE("bytes that no head has are refused before their line ends") {
  CHECK(verdict("\x16\x03\x01") == "400");
  CHECK(verdict(std::string("GET /\0", 6)) == "400");
  CHECK(verdict("GET / HTTP/1.1\r") == "incomplete");
  CHECK(verdict("GET / HTTP/1.1\rX") == "400");
  CHECK(verdict("GET / HTTP/1.1\r\r") == "400");
  CHECK(verdict("GET / HTTP/1.1\n") == "400");
}

TEST_CASE("a head of the largest size is read, and one byte more is too large") {
  const auto of_size = [](std::size_t size) {
    const std::string empty = with_fields("A: \r\n");
    return with_fields("A: " + std::string(size - empty.size(), 'a') + "\r\n");
  };
  const std::string largest = of_size(kHeadBytesMax);
  CHECK(head(largest).size == kHeadBytesMax);
  CHECK(verdict(std::string_view(largest).substr(0, kHeadBytesMax - 1)) == "incomplete");
  CHECK(verdict(of_size(kHeadBytesMax + 1)) == "431");
  CHECK(verdict(of_size(kHeadBytesMax + 1).substr(0, kHeadBytesMax)) == "431");
}

TEST_CASE("a request line that fills the head is too long") {
  const std::string line = "GET /" + std::string(kHeadBytesMax, 'a');
  CHECK(verdict(std::string_view(line).substr(0, kHeadBytesMax - 1)) == "incomplete");
  CHECK(verdict(std::string_view(line).substr(0, kHeadBytesMax)) == "414");
  CHECK(verdict(line + " HTTP/1.1\r\n\r\n") == "414");
}

}  // namespace
}  // namespace mc::http
