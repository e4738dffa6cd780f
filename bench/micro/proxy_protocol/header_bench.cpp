// SPDX-License-Identifier: Apache-2.0
// What it costs a connection that a header is read before its hello, and that one is written.

#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <variant>

#include "proxy_protocol/header.hpp"
#include "proxy_protocol/write.hpp"

namespace {

using namespace mc::proxy_protocol;

Addresses between(const char* source, const char* destination) {
  return {.source = mc::SocketAddress::parse(source).value(),
          .destination = mc::SocketAddress::parse(destination).value()};
}

const Addresses kV4 = between("192.0.2.1:51000", "198.51.100.2:443");
const Addresses kV6 = between("[2001:db8::1]:51000", "[2001:db8::2]:443");
const Tlvs kAll{.authority = "app.example.com",
                .unique_id = "0123456789abcdef0123456789abcdef",
                .crc32c = true};

// The longest header, of nothing but the heads of TLVs that are empty.
std::string hostile() {
  std::string header = v2(kV4, {});
  header.resize(kHeaderBytesMax - (kHeaderBytesMax - header.size()) % 3, '\x04');
  for (std::size_t at = v2(kV4, {}).size(); at < header.size(); at += 3) {
    header[at + 1] = header[at + 2] = '\0';
  }
  const std::size_t length = header.size() - v2({}, {}).size();
  header[14] = static_cast<char>(length >> 8);
  header[15] = static_cast<char>(length);
  return header;
}

void read(benchmark::State& state, const std::string& header) {
  const std::span bytes(reinterpret_cast<const std::uint8_t*>(header.data()), header.size());
  if (!std::holds_alternative<Header>(parse(bytes))) std::abort();
  for (auto _ : state) {
    auto result = parse(bytes);
    benchmark::DoNotOptimize(result);
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()));
}

void write_line(benchmark::State& state, const Addresses& addresses) {
  for (auto _ : state) {
    auto header = v1(addresses);
    benchmark::DoNotOptimize(header);
  }
}

void write_binary(benchmark::State& state, const Addresses& addresses, const Tlvs& tlvs) {
  for (auto _ : state) {
    auto header = v2(addresses, tlvs);
    benchmark::DoNotOptimize(header);
  }
}

BENCHMARK_CAPTURE(read, line_v4, v1(kV4));
BENCHMARK_CAPTURE(read, line_v6, v1(kV6));
BENCHMARK_CAPTURE(read, binary_v4, v2(kV4, {}));
BENCHMARK_CAPTURE(read, binary_v6_all_tlvs, v2(kV6, kAll));
BENCHMARK_CAPTURE(read, hostile_16_kib_of_tlvs, hostile());
BENCHMARK_CAPTURE(write_line, v4, kV4);
BENCHMARK_CAPTURE(write_line, v6, kV6);
BENCHMARK_CAPTURE(write_binary, v4, kV4, Tlvs{});
BENCHMARK_CAPTURE(write_binary, v6_all_tlvs, kV6, kAll);

}  // namespace

BENCHMARK_MAIN();
