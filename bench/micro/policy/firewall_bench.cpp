// SPDX-License-Identifier: Apache-2.0
// What the firewall costs a connection under a million CIDRs, and what it costs to build. Every
// lookup takes another address, so that the figures hold the cache misses that a busy proxy would
// see. Goals: 200 ns for a lookup, hit or miss, IPv4 or IPv6; a second for building.

#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "policy/cidr_index.hpp"
#include "policy/firewall.hpp"

namespace mc::policy {
namespace {

constexpr std::size_t kAddresses = 1 << 16;

using Random = std::mt19937_64;

/// The address with what follows the first `kept` of its 128 bits random, or 0 without a source.
IpAddress with_tail(const IpAddress& address, int kept, Random* random) {
  auto bytes = address.bytes();
  for (int i = kept; i < 128; ++i) {
    const auto bit = static_cast<std::uint8_t>(0x80U >> (i % 8));
    auto& byte = bytes[static_cast<std::size_t>(i / 8)];
    byte = static_cast<std::uint8_t>(byte & ~bit);
    if (random != nullptr && (*random)() % 2 == 0) byte = static_cast<std::uint8_t>(byte | bit);
  }
  return IpAddress(bytes);
}

/// A public address.
IpAddress random_v4(Random& random) {
  return IpAddress::v4(static_cast<std::uint32_t>(0x01000000 + random() % 0xde000000));
}

/// An address in one of the 65,536 networks (/32) that the five regional registries gave out here.
IpAddress random_v6(Random& random) {
  constexpr std::uint8_t kRegistries[] = {0x24, 0x26, 0x28, 0x2a, 0x2c};
  Random network(random() % 65'536);
  const IpAddress registry({kRegistries[network() % 5]});
  return with_tail(with_tail(registry, 12, &network), 32, &random);
}

/// Lengths as routing tables and blocklists have them; some single addresses among them.
constexpr int kLengthsV4[] = {24, 24, 24, 24, 24, 24, 24, 24, 23, 22,
                              22, 21, 20, 19, 18, 16, 28, 29, 32, 32};
constexpr int kLengthsV6[] = {48, 48, 48, 48, 48, 48, 48, 48, 47, 46,
                              44, 40, 36, 32, 32, 29, 56, 64, 64, 128};

IpPrefix block_around(const IpAddress& address, int length) {
  const int kept = address.is_v4() ? 96 + length : length;
  const auto network = with_tail(address, kept, nullptr);
  return IpPrefix::parse(network.to_string() + "/" + std::to_string(length)).value();
}

/// `count` blocks, of which `v6_percent` are IPv6.
std::vector<IpPrefix> blocks(std::size_t count, int v6_percent) {
  Random random(1);
  std::vector<IpPrefix> result;
  while (result.size() < count) {
    const bool is_v6 = static_cast<int>(random() % 100) < v6_percent;
    result.push_back(is_v6 ? block_around(random_v6(random), kLengthsV6[random() % 20])
                           : block_around(random_v4(random), kLengthsV4[random() % 20]));
  }
  return result;
}

enum class Family { kV4, kV6 };

/// Addresses of one family in random order that the firewall blocks by CIDR, or allows.
std::vector<IpAddress> clients(std::span<const IpPrefix> blocked, const Firewall& firewall,
                               Family family, Verdict verdict) {
  Random random(2);
  std::vector<IpAddress> result;
  while (result.size() < kAddresses) {
    auto address = family == Family::kV4 ? random_v4(random) : random_v6(random);
    if (verdict == Verdict::kBlockedCidr) {
      const IpPrefix& block = blocked[random() % blocked.size()];
      address = with_tail(block.network(), block.mapped_length(), &random);
    }
    const bool is_of_family = address.is_v4() == (family == Family::kV4);
    if (is_of_family && firewall.check(address) == verdict) result.push_back(address);
  }
  return result;
}

/// A million blocks, of which so many percent are IPv6; made once.
const std::vector<IpPrefix>& million_blocks(int v6_percent) {
  static std::map<int, std::vector<IpPrefix>> made;
  auto& result = made[v6_percent];
  if (result.empty()) result = blocks(1'000'000, v6_percent);
  return result;
}

void check(benchmark::State& state, int v6_percent, Family family, Verdict verdict) {
  const auto& blocked = million_blocks(v6_percent);
  const Firewall firewall({.ips = {IpAddress::v4(1)}, .cidrs = blocked, .countries = {}});
  const auto addresses = clients(blocked, firewall, family, verdict);
  std::size_t i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(firewall.check(addresses[i++ % kAddresses]));
  }
}
BENCHMARK_CAPTURE(check, v4_blocked_of_mixed, 30, Family::kV4, Verdict::kBlockedCidr);
BENCHMARK_CAPTURE(check, v4_allowed_of_mixed, 30, Family::kV4, Verdict::kAllowed);
BENCHMARK_CAPTURE(check, v6_blocked_of_mixed, 30, Family::kV6, Verdict::kBlockedCidr);
BENCHMARK_CAPTURE(check, v6_allowed_of_mixed, 30, Family::kV6, Verdict::kAllowed);
BENCHMARK_CAPTURE(check, v4_blocked_of_v4, 0, Family::kV4, Verdict::kBlockedCidr);
BENCHMARK_CAPTURE(check, v6_blocked_of_v6, 100, Family::kV6, Verdict::kBlockedCidr);

void build(benchmark::State& state) {
  const auto& blocked = million_blocks(static_cast<int>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(CidrIndex(blocked));
  state.counters["index_mb"] = static_cast<double>(CidrIndex(blocked).heap_bytes()) / 1e6;
}
BENCHMARK(build)->ArgName("v6_percent")->Arg(0)->Arg(30)->Arg(100)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace mc::policy

// For all the files of this room: they are one program.
BENCHMARK_MAIN();
