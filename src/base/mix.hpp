// SPDX-License-Identifier: Apache-2.0
#pragma once
// Constant 64-bit mixing and hashing: the same on every machine and in every process. Not against
// an attacker who knows it.

#include <cstdint>
#include <string_view>

namespace mc {

/// A bijection under which close values become far apart (the finaliser of SplitMix64; Steele, Lea
/// and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).
constexpr std::uint64_t mix64(std::uint64_t value) {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

/// FNV-1a of the bytes (draft-eastlake-fnv), mixed.
constexpr std::uint64_t hash64(std::string_view bytes) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char byte : bytes) {
    hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
  }
  return mix64(hash);
}

/// A sequence of random numbers, by SplitMix64. Belongs to one thread.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() { return mix64(state_ += 0x9e3779b97f4a7c15); }

 private:
  std::uint64_t state_;
};

}  // namespace mc
