// SPDX-License-Identifier: Apache-2.0
#include "cli/format.hpp"

#include <cstdint>
#include <limits>

#include "support/catch.hpp"

namespace mc::cli {

TEST_CASE("bytes have three figures at most") {
  CHECK(format_bytes(0) == "0 B");
  CHECK(format_bytes(999) == "999 B");
  CHECK(format_bytes(1000) == "1.0 kB");
  CHECK(format_bytes(99'949) == "99.9 kB");
  CHECK(format_bytes(99'950) == "100 kB");
  CHECK(format_bytes(999'499) == "999 kB");
  CHECK(format_bytes(999'500) == "1.0 MB");
  CHECK(format_bytes(std::numeric_limits<std::uint64_t>::max()) == "18.4 EB");
}

TEST_CASE("counts have their thousands apart") {
  CHECK(format_count(0) == "0");
  CHECK(format_count(999) == "999");
  CHECK(format_count(1000) == "1,000");
  CHECK(format_count(1'234'567) == "1,234,567");
}

TEST_CASE("one thing is singular") {
  CHECK(format_items(0, "rule") == "0 rules");
  CHECK(format_items(1, "rule") == "1 rule");
  CHECK(format_items(2, "rule") == "2 rules");
}

TEST_CASE("a duration has whole seconds") {
  CHECK(format_seconds(std::chrono::milliseconds(999)) == "0s");
  CHECK(format_seconds(std::chrono::seconds(16330)) == "4h32m10s");
}

TEST_CASE("a time has milliseconds and is UTC") {
  google::protobuf::Timestamp time;
  time.set_seconds(1'787'211'065);
  time.set_nanos(123'456'789);
  CHECK(format_time(time) == "2026-08-20T07:31:05.123Z");
}

TEST_CASE("what is too long loses its middle") {
  CHECK(fit("short", 5) == "short");
  CHECK(fit("very-long.example.com", 12) == "very-l~e.com");
  CHECK(fit("ab", 1) == "~");
}

TEST_CASE("a table's columns are as wide as their widest cell, and no line ends in spaces") {
  CHECK(format_table({{"NAME", "COUNT", "WHY"}, {"a", "1", ""}, {"longer", "22222", "x"}}, {1}) ==
        "NAME    COUNT  WHY\na           1\nlonger  22222  x\n");
}

}  // namespace mc::cli
