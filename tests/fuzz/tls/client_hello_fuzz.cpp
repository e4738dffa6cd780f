// SPDX-License-Identifier: Apache-2.0
// Any bytes as the start of a stream. Beyond memory safety it checks what the proxy relies on: the
// result for part of the stream never contradicts the result for all of it; waiting for the needed
// bytes always ends, and soon; cuts into records have no effect; a name is in normal form.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <variant>

#include "tls/client_hello.hpp"
#include "tls/limits.hpp"
#include "unit/tls/hello_builder.hpp"

namespace {

using namespace mc::tls;

using Input = std::span<const std::uint8_t>;

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

void check_names(const ParseResult& result) {
  const auto* hello = std::get_if<ClientHello>(&result);
  if (hello == nullptr) return;
  const auto again = HostName::from(hello->server_name.view());
  require(again && again->view() == hello->server_name.view(), "a name is in normal form");
  for (const auto protocol : hello->alpn) require(!protocol.empty(), "no protocol is empty");
}

void check_prefix(ClientHelloParser& parser, Input stream, std::size_t size,
                  const std::string& answer) {
  // A copy, so that a read past the prefix is a read past its memory.
  const testing::Bytes prefix(stream.begin(), stream.begin() + static_cast<std::ptrdiff_t>(size));
  const auto result = parser.parse(prefix);
  if (const auto* incomplete = std::get_if<Incomplete>(&result)) {
    require(incomplete->needed > size, "more is needed than there is");
    require(incomplete->needed <= kHelloStreamMax, "no more is needed than is allowed");
  } else {
    require(testing::describe(result) == answer, "a prefix agrees with the whole");
  }
}

void check_prefixes(ClientHelloParser& parser, Input stream, const std::string& answer) {
  constexpr std::size_t kEach = 80;    // Every prefix up to this long,
  constexpr std::size_t kSpread = 16;  // some more, evenly spread,
  for (std::size_t size = 0; size < std::min(kEach, stream.size()); ++size) {
    check_prefix(parser, stream, size, answer);
  }
  for (std::size_t i = 0; i < kSpread; ++i) {
    check_prefix(parser, stream, stream.size() * i / kSpread, answer);
  }
  if (!stream.empty()) check_prefix(parser, stream, stream.size() - 1, answer);  // and the longest.
}

// Reads only the needed bytes each time; returns how many bytes the final result took.
std::size_t check_waiting(ClientHelloParser& parser, Input stream, const std::string& answer) {
  constexpr int kCallsMax = 100;
  std::size_t size = 0;
  for (int calls = 0; calls < kCallsMax; ++calls) {
    const auto result = parser.parse(stream.first(size));
    const auto* incomplete = std::get_if<Incomplete>(&result);
    if (incomplete == nullptr || size == stream.size()) {
      require(testing::describe(result) == answer, "waiting leads to the same answer");
      return size;
    }
    size = std::min(incomplete->needed, stream.size());
  }
  require(false, "few calls lead to the answer");
  return 0;
}

// The payloads of the records that `stream` consists of.
testing::Bytes message_of(Input stream) {
  testing::Bytes message;
  while (!stream.empty()) {
    const std::size_t size = std::size_t{stream[3]} << 8 | stream[4];
    const auto payload = stream.subspan(5, size);
    message.insert(message.end(), payload.begin(), payload.end());
    stream = stream.subspan(5 + size);
  }
  return message;
}

void check_other_records(ClientHelloParser& parser, Input hello, const std::string& answer) {
  const auto message = message_of(hello);
  const std::size_t some = 6 + hello[hello.size() / 2];
  for (const auto payload_max : {kRecordPayloadMax, some, std::size_t{1}}) {
    const auto cut = testing::in_records(message, payload_max);
    if (cut.size() > kHelloStreamMax) continue;
    require(testing::describe(parser.parse(cut)) == answer, "records are cut without effect");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static ClientHelloParser parser;
  const Input stream(data, size);
  const auto result = parser.parse(stream);
  check_names(result);
  const bool is_hello = std::holds_alternative<ClientHello>(result);
  const auto answer = testing::describe(result);
  if (const auto* incomplete = std::get_if<Incomplete>(&result)) {
    require(incomplete->needed > size, "more is needed than there is");
  }
  check_prefixes(parser, stream, answer);
  const auto consumed = check_waiting(parser, stream, answer);
  if (is_hello) {
    const auto hello = stream.first(consumed);
    require(std::holds_alternative<Incomplete>(parser.parse(hello.first(consumed - 1))),
            "a hello needs its last byte");
    check_other_records(parser, hello, answer);
  }
  return 0;
}
