// SPDX-License-Identifier: Apache-2.0
#pragma once
// Numbers and times as people read them in a column. Pure; any thread.

#include <google/protobuf/timestamp.pb.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace mc::cli {

/// "0 B", "999 B", "1.2 kB", "12.3 MB": three figures at most, in powers of 1,000.
std::string format_bytes(std::uint64_t bytes);
/// "1,234,567".
std::string format_count(std::uint64_t count);
/// "1 rule", "2 rules": a noun with a regular plural.
std::string format_items(std::uint64_t count, std::string_view noun);
/// Whole seconds: "0s", "4h32m10s".
std::string format_seconds(std::chrono::nanoseconds duration);
/// "2026-08-20T07:31:05.123Z".
std::string format_time(const google::protobuf::Timestamp& time);

/// At most `width` (not 0) characters: what is longer loses its middle, "very-lo~ple.com". ASCII.
std::string fit(std::string_view text, std::size_t width);

/// Rows of the same number of cells, the first one of titles, as lines with aligned columns. Those
/// in `numbers` (places, from 0) are aligned to the right.
std::string format_table(const std::vector<std::vector<std::string>>& rows,
                         std::initializer_list<std::size_t> numbers);

}  // namespace mc::cli
