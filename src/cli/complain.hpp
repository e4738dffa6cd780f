// SPDX-License-Identifier: Apache-2.0
#pragma once
// How a failed command ends: the exit code, and lines on stderr.

#include <string>

namespace mc::cli {

enum ExitCode : int {
  kDone = 0,
  kFailed = 1,          // it failed, or the server refused
  kUsage = 2,           // the command line is wrong
  kUnreachable = 3,     // no server could be reached
  kMisconfigured = 78,  // `server` alone: the configuration is wrong (EX_CONFIG, sysexits.h)
};

/// Writes lines to stderr: why a command failed, before there is a log.
void complain(const std::string& lines);

}  // namespace mc::cli
