// SPDX-License-Identifier: Apache-2.0
#include "metrics/request.hpp"

#include <string>

#include "http/limits.hpp"
#include "support/catch.hpp"

namespace mc::metrics {
namespace {

TEST_CASE("a GET of /metrics is a scrape, whatever else its head and its query say") {
  CHECK(read_request("GET /metrics HTTP/1.1\r\n\r\n") == RequestKind::kScrape);
  CHECK(read_request("GET /metrics HTTP/1.0\r\nHost: x\r\n\r\n") == RequestKind::kScrape);
  CHECK(read_request("GET /metrics?format=text HTTP/1.1\r\nA: b\r\n\r\nmore") ==
        RequestKind::kScrape);
}

TEST_CASE("a request that has not ended is waited for, byte by byte") {
  const std::string whole = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
  for (std::size_t i = 0; i < whole.size(); ++i) {
    CHECK(read_request(whole.substr(0, i)) == RequestKind::kIncomplete);
  }
  CHECK(read_request(whole) == RequestKind::kScrape);
}

TEST_CASE("other paths and other methods are told apart") {
  for (const char* const path : {"/", "/metrics/", "/metricsx", "//metrics", "metrics", "*"}) {
    CHECK(read_request("GET " + std::string(path) + " HTTP/1.1\r\n\r\n") ==
          RequestKind::kElsewhere);
  }
  for (const char* const method : {"HEAD", "POST", "get", "CONNECT", "GETT"}) {
    CHECK(read_request(std::string(method) + " /metrics HTTP/1.1\r\n\r\n") ==
          RequestKind::kOtherMethod);
  }
}

TEST_CASE("what is no HTTP is malformed, and nothing is read into it") {
  for (const char* const line :
       {"", " ", "GET", "GET /metrics", "GET /metrics HTTP/2.0", "GET  HTTP/1.1",
        " /metrics HTTP/1.1", "GET / metrics HTTP/1.1", "GET /metrics HTTP/1.1 ", "\x16\x03\x01"}) {
    CHECK(read_request(std::string(line) + "\r\n\r\n") == RequestKind::kMalformed);
  }
}

TEST_CASE("a head has a largest size, whether it ends or not") {
  const std::string line = "GET /metrics HTTP/1.1\r\nA: ";
  CHECK(read_request(line + std::string(http::kHeadBytesMax - line.size() - 1, 'a')) ==
        RequestKind::kIncomplete);
  CHECK(read_request(line + std::string(http::kHeadBytesMax, 'a')) == RequestKind::kTooLarge);
  CHECK(read_request(line + std::string(http::kHeadBytesMax, 'a') + "\r\n\r\n") ==
        RequestKind::kTooLarge);
}

TEST_CASE("an answer says its size and its format, and ends the connection") {
  CHECK(head_of_answer(RequestKind::kScrape, 17) ==
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
        "Content-Length: 17\r\nConnection: close\r\n\r\n");
  CHECK(head_of_answer(RequestKind::kOtherMethod, 1)
            .starts_with("HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\n"));
  for (const RequestKind request : {RequestKind::kElsewhere, RequestKind::kOtherMethod,
                                    RequestKind::kMalformed, RequestKind::kTooLarge}) {
    CHECK_FALSE(body_of(request).empty());
  }
}

}  // namespace
}  // namespace mc::metrics
