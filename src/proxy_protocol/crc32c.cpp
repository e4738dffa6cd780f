// SPDX-License-Identifier: Apache-2.0
#include "proxy_protocol/crc32c.hpp"

#include <array>
#include <cstddef>

namespace mc::proxy_protocol {
namespace {

constexpr std::uint32_t kPolynomial = 0x82f63b78;  // 0x1edc6f41, the lowest bit first

// For each byte: what it adds to the remainder of those after it.
constexpr std::array<std::uint32_t, 256> kTable = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::size_t byte = 0; byte < table.size(); ++byte) {
    auto rest = static_cast<std::uint32_t>(byte);
    for (int bit = 0; bit < 8; ++bit) rest = (rest >> 1) ^ ((rest & 1) != 0 ? kPolynomial : 0);
    table[byte] = rest;
  }
  return table;
}();

}  // namespace

std::uint32_t crc32c(std::span<const std::uint8_t> bytes, std::uint32_t before) {
  std::uint32_t rest = ~before;
  for (const auto byte : bytes) rest = (rest >> 8) ^ kTable[(rest ^ byte) & 0xff];
  return ~rest;
}

}  // namespace mc::proxy_protocol
