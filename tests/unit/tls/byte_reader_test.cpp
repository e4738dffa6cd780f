// SPDX-License-Identifier: Apache-2.0
#include "tls/byte_reader.hpp"

#include <array>

#include "support/catch.hpp"

namespace mc::tls {
namespace {

constexpr std::array<std::uint8_t, 8> kBytes{1, 2, 3, 4, 5, 6, 7, 8};

}  // namespace

TEST_CASE("numbers are read front to back, the most significant byte first") {
  ByteReader reader(kBytes);
  CHECK(reader.u8() == 0x01);
  CHECK(reader.u16() == 0x0203);
  CHECK(reader.u24() == 0x040506);
  CHECK(reader.rest().size() == 2);
  CHECK_FALSE(reader.finished());
  CHECK(reader.bytes(2).front() == 7);
  CHECK(reader.finished());
}

TEST_CASE("a read beyond the end yields nothing, and leaves the reader failed and empty") {
  ByteReader reader(std::span(kBytes).first(2));
  CHECK(reader.u24() == 0);
  CHECK(reader.failed());
  CHECK(reader.empty());
  CHECK_FALSE(reader.finished());
  CHECK(reader.u8() == 0);  // what was there is not given in pieces
  CHECK(reader.bytes(0).empty());
  CHECK(reader.failed());
}

TEST_CASE("nothing may be read at the end") {
  ByteReader reader(std::span(kBytes).first(1));
  CHECK(reader.u8() == 1);
  CHECK(reader.bytes(0).empty());
  CHECK(reader.finished());
}

TEST_CASE("a vector is as long as the number before it says") {
  constexpr std::array<std::uint8_t, 7> kVectors{2, 10, 11, 0, 1, 12, 13};
  ByteReader reader(kVectors);
  ByteReader one = reader.vector8();
  CHECK(one.u16() == 0x0a0b);
  CHECK(one.finished());
  ByteReader other = reader.vector16();
  CHECK(other.u8() == 12);
  CHECK(other.finished());
  CHECK(reader.u8() == 13);
  CHECK(reader.finished());
}

TEST_CASE("a vector that is cut short fails with its reader, also where it would be empty") {
  constexpr std::array<std::uint8_t, 3> kCut{0, 3, 9};
  ByteReader reader(kCut);
  ByteReader inner = reader.vector16();
  CHECK(inner.failed());
  CHECK(inner.empty());
  CHECK(reader.failed());
  ByteReader nothing(std::span(kCut).first(1));
  CHECK(nothing.vector16().failed());
  CHECK(nothing.failed());
}

TEST_CASE("a copy remembers the place") {
  ByteReader reader(kBytes);
  ByteReader copy = reader;
  CHECK(reader.u8() == 1);
  CHECK(copy.u8() == 1);
}

}  // namespace mc::tls
