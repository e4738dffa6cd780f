// SPDX-License-Identifier: Apache-2.0
#include "config/problem.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>

#include "config/limits.hpp"

namespace mc::config {

std::string Problem::to_string() const {
  std::string out = file;
  if (position.line > 0) out += fmt::format(":{}:{}", position.line, position.column);
  if (!value.empty()) out += fmt::format(": {} = {}", key, value);
  return out + ": " + message;
}

std::string to_string(const std::vector<Problem>& problems) {
  const std::size_t shown = std::min(problems.size(), kProblemsShownMax);
  std::string out;
  for (std::size_t i = 0; i < shown; ++i) out += problems[i].to_string() + '\n';
  if (shown < problems.size())
    out += fmt::format("and {} more problems\n", problems.size() - shown);
  return out;
}

}  // namespace mc::config
