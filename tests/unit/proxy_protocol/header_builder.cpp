// SPDX-License-Identifier: Apache-2.0
#include "unit/proxy_protocol/header_builder.hpp"

#include <charconv>

#include "support/catch.hpp"

namespace mc::proxy_protocol::testing {

Bytes bytes(std::string_view text) { return {text.begin(), text.end()}; }

Bytes hex(std::string_view digits) {
  Bytes read;
  for (std::size_t i = 0; i + 1 < digits.size(); i += 2) {
    while (digits[i] == ' ') ++i;
    std::uint8_t byte = 0;
    const auto [end, error] = std::from_chars(&digits[i], &digits[i] + 2, byte, 16);
    REQUIRE(error == std::errc());
    REQUIRE(end == &digits[i] + 2);
    read.push_back(byte);
  }
  return read;
}

Bytes join(std::initializer_list<Bytes> parts) {
  Bytes all;
  for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

Bytes prefix_of(const Bytes& stream, std::size_t size) {
  return {stream.begin(), stream.begin() + static_cast<std::ptrdiff_t>(size)};
}

Bytes binary_of_length(std::uint8_t command, std::uint8_t family, std::size_t length,
                       const Bytes& body) {
  const Bytes numbers = {command, family, static_cast<std::uint8_t>(length >> 8),
                         static_cast<std::uint8_t>(length)};
  return join({hex("0d0a0d0a 000d0a51 5549540a"), numbers, body});
}

Bytes binary(std::uint8_t command, std::uint8_t family, const Bytes& body) {
  return binary_of_length(command, family, body.size(), body);
}

Bytes tlv(std::uint8_t type, const Bytes& value) {
  const Bytes head = {type, static_cast<std::uint8_t>(value.size() >> 8),
                      static_cast<std::uint8_t>(value.size())};
  return join({head, value});
}

Bytes addresses_v4() { return hex("c0000201 c6336402 c738 01bb"); }

Bytes addresses_v6() {
  return hex("20010db8 00000000 00000000 00000001 20010db8 00000000 00000000 00000002 c738 01bb");
}

std::string describe(const Parsed& parsed) {
  if (std::holds_alternative<Incomplete>(parsed)) return "incomplete";
  if (const auto* why = std::get_if<Malformed>(&parsed)) return std::string(to_string(*why));
  const auto& header = std::get<Header>(parsed);
  std::string text = header.is_local ? "local" : "the peer";
  if (header.addresses) {
    text = header.addresses->source.to_string() + " > " + header.addresses->destination.to_string();
  }
  if (!header.authority.empty()) text += " for " + header.authority;
  return text + ", " + std::to_string(header.size) + " bytes";
}

namespace {

void expect_parts(const Bytes& stream, std::string_view result) {
  const auto whole = parse(stream);
  const auto* header = std::get_if<Header>(&whole);
  const std::size_t end = header != nullptr ? header->size : stream.size();
  REQUIRE(end <= stream.size());
  for (std::size_t size = 0; size < end; ++size) {
    INFO("the first " << size << " bytes");
    const auto parsed = parse(prefix_of(stream, size));
    if (const auto* incomplete = std::get_if<Incomplete>(&parsed)) {
      REQUIRE(incomplete->needed > size);
      REQUIRE(incomplete->needed <= kHeaderBytesMax);
      if (header != nullptr) REQUIRE(incomplete->needed <= end);
    } else {
      REQUIRE(std::holds_alternative<Malformed>(parsed));
      REQUIRE(describe(parsed) == result);
    }
  }
}

// Reads only the needed bytes each time. A malformed stream may end before they are there.
void expect_waiting(const Bytes& stream, std::string_view result) {
  const bool is_header = std::holds_alternative<Header>(parse(stream));
  std::size_t size = 0;
  for (;;) {
    const auto parsed = parse(prefix_of(stream, size));
    const auto* incomplete = std::get_if<Incomplete>(&parsed);
    if (incomplete == nullptr) {
      REQUIRE(describe(parsed) == result);
      if (is_header) REQUIRE(std::get<Header>(parsed).size == size);
      return;
    }
    if (incomplete->needed > stream.size()) {
      REQUIRE_FALSE(is_header);
      return;
    }
    size = incomplete->needed;
  }
}

}  // namespace

void expect(const Bytes& stream, std::string_view result) {
  INFO("expected: " << result);
  REQUIRE(describe(parse(stream)) == result);
  expect_parts(stream, result);
  expect_waiting(stream, result);
  if (result == "incomplete") return;
  for (const auto& next : {hex("00"), bytes("\r\n"), hex("1603010200"), stream}) {
    REQUIRE(describe(parse(join({stream, next}))) == result);
    expect_waiting(join({stream, next}), result);
  }
}

}  // namespace mc::proxy_protocol::testing
