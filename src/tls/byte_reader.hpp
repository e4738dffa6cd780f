// SPDX-License-Identifier: Apache-2.0
#pragma once
// How this room reads a peer's bytes: front to back, never past the end, numbers in network byte
// order. Does not own the bytes. A read of more than is left returns zero or nothing, and leaves
// the reader failed and empty: a caller reads a whole structure, then checks once.

#include <cstddef>
#include <cstdint>
#include <span>

namespace mc::tls {

/// Reads a span of bytes. A value; copying it remembers the position.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::uint8_t> bytes) : rest_(bytes) {}

  /// True when nothing is left, also after a failure: loops until empty() always end.
  [[nodiscard]] bool empty() const { return rest_.empty(); }
  /// True once a read wanted more than was left.
  [[nodiscard]] bool failed() const { return failed_; }
  /// True when every read succeeded and no byte is left over.
  [[nodiscard]] bool finished() const { return !failed_ && rest_.empty(); }
  [[nodiscard]] std::span<const std::uint8_t> rest() const { return rest_; }

  std::uint8_t u8() { return static_cast<std::uint8_t>(number<1>()); }
  std::uint16_t u16() { return static_cast<std::uint16_t>(number<2>()); }
  std::uint32_t u24() { return number<3>(); }

  std::span<const std::uint8_t> bytes(std::size_t count) {
    if (count > rest_.size()) {
      fail();
      return {};
    }
    const auto taken = rest_.first(count);
    rest_ = rest_.subspan(count);
    return taken;
  }

  /// A vector with its length in front in one or two bytes (RFC 8446 section 3.4). The reader of a
  /// vector that is cut short has failed too.
  ByteReader vector8() { return vector(u8()); }
  ByteReader vector16() { return vector(u16()); }

 private:
  template <std::size_t kSize>
  std::uint32_t number() {
    std::uint32_t value = 0;
    for (const auto byte : bytes(kSize)) value = value << 8 | byte;
    return value;
  }

  ByteReader vector(std::size_t size) {
    ByteReader inner(bytes(size));
    if (failed_) inner.fail();
    return inner;
  }

  void fail() {
    rest_ = {};
    failed_ = true;
  }

  std::span<const std::uint8_t> rest_;
  bool failed_ = false;
};

}  // namespace mc::tls
