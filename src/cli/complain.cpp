// SPDX-License-Identifier: Apache-2.0
#include "cli/complain.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace mc::cli {

// Before there is a configuration there is no log, and a person at a terminal reads plain lines
// best. Under systemd they still have a priority, so that `journalctl -p err` finds them.
void complain(const std::string& lines) {
  const char* const priority = std::getenv("JOURNAL_STREAM") != nullptr ? "<3>" : "";
  std::size_t begin = 0;
  while (begin < lines.size()) {
    const std::size_t end = std::min(lines.find('\n', begin), lines.size());
    std::fprintf(stderr, "%s%.*s\n", priority, static_cast<int>(end - begin), lines.data() + begin);
    begin = end + 1;
  }
}

}  // namespace mc::cli
