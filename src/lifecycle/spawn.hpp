// SPDX-License-Identifier: Apache-2.0
#pragma once
// Another program as a child process. Any thread.

#include <sys/types.h>

#include <string>
#include <vector>

namespace mc::lifecycle {

/// What the child writes to; -1: what this process writes to. It reads from /dev/null.
struct ChildStreams {
  int out = -1;
  int err = -1;
};

enum class ChildSession { kOurs, kOwn };

/// Starts the program, which is looked for in PATH, with these words. -1, with errno. The child is
/// to be waited for.
pid_t spawn(const std::vector<std::string>& words, ChildStreams streams, ChildSession session);

}  // namespace mc::lifecycle
