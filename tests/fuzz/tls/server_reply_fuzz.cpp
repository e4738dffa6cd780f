// SPDX-License-Identifier: Apache-2.0
// Any bytes as a server's reply. Beyond memory safety it checks what a health check relies on: a
// result for part of the stream is the result for all of it, and a full buffer has one.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "tls/server_reply.hpp"

namespace {

using namespace mc::tls;

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

std::string described(const ServerReply& reply) {
  const auto* const alert = std::get_if<Alert>(&reply);
  return std::to_string(reply.index()) + (alert != nullptr ? to_string(*alert) : "");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span stream(data, size);
  const ServerReply whole = parse_server_reply(stream);
  require(size < kReplyBytesMax || !std::holds_alternative<ReplyIncomplete>(whole),
          "a full buffer has a result");
  for (std::size_t part = 0; part < size && part <= kReplyBytesMax; ++part) {
    // A copy, so that a read past the part is a read past its memory.
    const std::vector<std::uint8_t> copy(data, data + part);
    const ServerReply early = parse_server_reply(copy);
    require(std::holds_alternative<ReplyIncomplete>(early) || described(early) == described(whole),
            "a part agrees with the whole");
  }
  return 0;
}
