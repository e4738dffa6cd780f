// SPDX-License-Identifier: Apache-2.0
// How many hellos a core can read. The goal is 1,500,000 a second for those of real clients.

#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdlib>
#include <variant>

#include "tls/client_hello.hpp"
#include "unit/tls/hello_builder.hpp"

namespace {

using namespace mc::tls;

void parse(benchmark::State& state, const testing::Bytes& stream) {
  ClientHelloParser parser;
  if (!std::holds_alternative<ClientHello>(parser.parse(stream))) std::abort();
  for (auto _ : state) {
    auto result = parser.parse(stream);
    benchmark::DoNotOptimize(result);
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()));
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * stream.size()));
}

testing::Bytes in_two_records() {
  const auto message = testing::chrome_like_hello().message();
  return testing::in_two_records(message, message.size() / 2);
}

testing::Bytes in_one_byte_records() {
  return testing::in_records(testing::typical_hello().padded_to(512).message(), 1);
}

testing::Bytes padded(std::size_t size) {
  return testing::typical_hello().padded_to(size).stream();
}

testing::Bytes all_extensions() {
  auto hello = testing::typical_hello();
  for (std::size_t type = 100; type < 100 + 16'000; ++type) hello.extension(type);
  return hello.stream();
}

BENCHMARK_CAPTURE(parse, curl, testing::corpus_file("real_curl"));
BENCHMARK_CAPTURE(parse, openssl_tls12, testing::corpus_file("real_openssl3_tls12"));
BENCHMARK_CAPTURE(parse, openssl_post_quantum, testing::corpus_file("real_openssl4_post_quantum"));
BENCHMARK_CAPTURE(parse, chrome_like, testing::chrome_like_hello().stream());
BENCHMARK_CAPTURE(parse, chrome_like_in_two_records, in_two_records());
BENCHMARK_CAPTURE(parse, of_60_kib, padded(61440));
BENCHMARK_CAPTURE(parse, hostile_16000_extensions, all_extensions());
BENCHMARK_CAPTURE(parse, hostile_one_byte_records, in_one_byte_records());

}  // namespace

BENCHMARK_MAIN();
