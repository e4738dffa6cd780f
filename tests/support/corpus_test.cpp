// SPDX-License-Identifier: Apache-2.0
// A fuzzer's committed corpus, each file once: what was found stays mended, and fuzzers compile.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "support/catch.hpp"

// libFuzzer's entry, which tests/fuzz/*/*_fuzz.cpp define. It ends the program if a check fails.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

TEST_CASE("every file of the corpus passes the fuzzer's checks") {
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(MC_CORPUS)) {
    INFO(entry.path().string());
    std::ifstream file(entry.path(), std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
    REQUIRE(file.good());
    CHECK(LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()),
                                 bytes.size()) == 0);
    ++files;
  }
  CHECK(files > 0);
}

}  // namespace
