// SPDX-License-Identifier: Apache-2.0
#include "tls/postgres.hpp"

#include <span>
#include <vector>

#include "support/catch.hpp"

namespace mc::tls::postgres {
namespace {

using Bytes = std::vector<std::uint8_t>;

const Bytes kSsl = {0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f};
const Bytes kGssEnc = {0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30};

TEST_CASE("each opening is known by its bytes") {
  struct Case {
    Bytes bytes;
    Opening opening;
  };
  const std::vector<Case> cases = {
      {{}, Opening::kIncomplete},
      {kSsl, Opening::kSslRequest},
      {kGssEnc, Opening::kGssEncRequest},
      {{0x16}, Opening::kDirectTls},
      {{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc}, Opening::kDirectTls},
      {{0x15}, Opening::kPlain},
      {{'G', 'E', 'T', ' '}, Opening::kPlain},
      {{0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e}, Opening::kPlain},  // CancelRequest
      {{0, 0, 0, 16}, Opening::kPlain},
      {{0, 0, 0, 8, 0, 3, 0, 0}, Opening::kPlain},  // StartupMessage 3.0 without a user
      {{0, 0, 0, 9, 0, 3, 0, 0, 0}, Opening::kPlain},
      {{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2e}, Opening::kPlain},
  };
  for (const Case& each : cases) CHECK(judge(each.bytes) == each.opening);
}

TEST_CASE("every prefix of a request is waited on") {
  for (const Bytes& request : {kSsl, kGssEnc}) {
    for (std::size_t size = 0; size < kRequestBytes; ++size) {
      CHECK(judge(std::span(request).first(size)) == Opening::kIncomplete);
    }
  }
}

TEST_CASE("a request with another byte in it is plain, as soon as that byte has come") {
  for (std::size_t at = 0; at < kRequestBytes; ++at) {
    for (int value = 0; value < 256; ++value) {
      Bytes changed = kSsl;
      changed[at] = static_cast<std::uint8_t>(value);
      Opening expected = Opening::kPlain;
      if (at == 0 && value == 0x16) expected = Opening::kDirectTls;
      const bool agrees = changed == kSsl || changed == kGssEnc;
      if (agrees) expected = changed == kSsl ? Opening::kSslRequest : Opening::kGssEncRequest;
      CHECK(judge(changed) == expected);
      if (agrees) continue;
      for (std::size_t size = at + 1; size <= kRequestBytes; ++size) {
        CHECK(judge(std::span(changed).first(size)) == expected);
      }
    }
  }
}

TEST_CASE("any byte behind a request is one too many") {
  for (const Bytes& request : {kSsl, kGssEnc}) {
    for (int value = 0; value < 256; ++value) {
      Bytes more = request;
      more.push_back(static_cast<std::uint8_t>(value));
      CHECK(judge(more) == Opening::kPipelined);
    }
  }
}

TEST_CASE("the request to a backend is an SSLRequest") {
  const auto request = ssl_request();
  CHECK(Bytes(request.begin(), request.end()) == kSsl);
}

}  // namespace
}  // namespace mc::tls::postgres
