// SPDX-License-Identifier: Apache-2.0
#pragma once
// Another program as a child process. Any thread.

#include <sys/types.h>

#include <string>
#include <vector>

namespace mc::lifecycle {

/// What the child writes to; -1: the same as this process. It reads from /dev/null.
struct ChildStreams {
  int out = -1;
  int err = -1;
};

enum class ChildSession { kOurs, kOwn };

/// Starts the program, found in PATH, with these arguments. Returns -1, with errno, on failure. The
/// caller must wait for the child.
pid_t spawn(const std::vector<std::string>& words, ChildStreams streams, ChildSession session);

}  // namespace mc::lifecycle
