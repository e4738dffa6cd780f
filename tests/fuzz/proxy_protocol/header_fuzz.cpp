// SPDX-License-Identifier: Apache-2.0
// Any bytes as the start of a stream. Beyond memory safety it checks what the proxy relies on: what
// follows a header changes nothing; part of a stream never contradicts all of it; waiting for the
// needed bytes ends at the header's last byte; what is written of a header is read as the same.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "proxy_protocol/header.hpp"
#include "proxy_protocol/write.hpp"

namespace {

using namespace mc::proxy_protocol;

using Input = std::span<const std::uint8_t>;

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

// Of a copy, so that a read past the part is a read past its memory.
Parsed parse_part(Input stream, std::size_t size) {
  return parse(std::vector<std::uint8_t>(stream.data(), stream.data() + size));
}

bool are_equal(const Parsed& left, const Parsed& right) {
  if (left.index() != right.index()) return false;
  if (const auto* header = std::get_if<Header>(&left)) return *header == std::get<Header>(right);
  if (const auto* why = std::get_if<Malformed>(&left)) return *why == std::get<Malformed>(right);
  return std::get<Incomplete>(left).needed == std::get<Incomplete>(right).needed;
}

void check_part(Input stream, std::size_t size, const Parsed& whole) {
  const auto part = parse_part(stream, size);
  const auto* header = std::get_if<Header>(&whole);
  if (const auto* incomplete = std::get_if<Incomplete>(&part)) {
    require(incomplete->needed > size, "more is needed than there is");
    require(incomplete->needed <= kHeaderBytesMax, "no more is needed than is allowed");
    require(header == nullptr || incomplete->needed <= header->size,
            "no more is needed than the header");
    require(header == nullptr || size < header->size, "a header needs no more than its bytes");
  } else {
    require(are_equal(part, whole), "a part agrees with the whole");
    require(header == nullptr || size >= header->size, "a header needs its last byte");
  }
}

void check_parts(Input stream, const Parsed& whole) {
  constexpr std::size_t kEach = 160;   // Every part up to this long,
  constexpr std::size_t kSpread = 16;  // some more, evenly spread,
  for (std::size_t size = 0; size < std::min(kEach, stream.size()); ++size) {
    check_part(stream, size, whole);
  }
  for (std::size_t i = 0; i < kSpread; ++i) {
    check_part(stream, stream.size() * i / kSpread, whole);
  }
  if (!stream.empty()) check_part(stream, stream.size() - 1, whole);  // and the longest,
  if (const auto* header = std::get_if<Header>(&whole)) {             // and around the end.
    check_part(stream, header->size - 1, whole);
    check_part(stream, header->size, whole);
  }
}

// Reads only the needed bytes each time. A malformed stream may end before they are there.
void check_waiting(Input stream, const Parsed& whole) {
  std::size_t size = 0;
  for (;;) {
    const auto parsed = parse_part(stream, size);
    const auto* incomplete = std::get_if<Incomplete>(&parsed);
    if (incomplete == nullptr) {
      require(are_equal(parsed, whole), "waiting leads to the same result");
      return;
    }
    if (incomplete->needed > stream.size()) {
      require(!std::holds_alternative<Header>(whole), "no more is waited for than the header");
      return;
    }
    size = incomplete->needed;
  }
}

void check_written(const std::string& written, Header expected, const char* what) {
  expected.size = written.size();
  const auto again = parse({reinterpret_cast<const std::uint8_t*>(written.data()), written.size()});
  const auto* header = std::get_if<Header>(&again);
  require(header != nullptr && *header == expected, what);
}

void check_writing(const Header& header) {
  check_written(v1(header.addresses), {.addresses = header.addresses}, "a line is read as written");
  // Without addresses LOCAL is written, of which only the length is read.
  for (const bool crc32c : {false, true}) {
    check_written(v2(header.addresses, {.authority = header.authority, .crc32c = crc32c}),
                  {.addresses = header.addresses,
                   .is_local = !header.addresses,
                   .authority = header.addresses ? header.authority : ""},
                  "a binary header is read as written");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Input stream(data, size);
  const auto result = parse_part(stream, size);
  check_parts(stream, result);
  check_waiting(stream, result);
  if (const auto* header = std::get_if<Header>(&result)) {
    require(header->size >= kShortestHeader && header->size <= std::min(size, kHeaderBytesMax),
            "a header is a part of the stream");
    require(!header->is_local || !header->addresses, "LOCAL has no addresses");
    check_writing(*header);
  }
  return 0;
}
