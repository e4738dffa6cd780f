// SPDX-License-Identifier: Apache-2.0
#pragma once
// So few descriptors that a test can use them up.

#include <sys/resource.h>

#include <algorithm>

#include "support/catch.hpp"

namespace mc::test {

/// New descriptors have numbers below `most` as long as this lives: with 3, which are taken, there
/// are none. Those that are open stay open. poll(2) refuses more than `most` of them.
class DescriptorsBelow {
 public:
  explicit DescriptorsBelow(rlim_t most) {
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
    const rlimit few{.rlim_cur = std::min(most, before_.rlim_max), .rlim_max = before_.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
  }
  ~DescriptorsBelow() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  DescriptorsBelow(const DescriptorsBelow&) = delete;
  DescriptorsBelow& operator=(const DescriptorsBelow&) = delete;

 private:
  rlimit before_{};
};

}  // namespace mc::test
