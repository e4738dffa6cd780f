// SPDX-License-Identifier: Apache-2.0
#pragma once
// The subcommands. Each answers with the process's exit code: 0, done; 1, it could not be done, and
// stderr says why. (The command line itself, when it is wrong, ends with a code of CLI11's above
// 100.)

#include <string>

namespace mc::app {

inline constexpr const char* kDefaultConfigPath = "/srv/mc-proxy/mc-proxy.toml";

/// Serves until a signal ends it. SIGTERM, SIGINT: no new connections, open ones have
/// shutdown_timeout; the same again: at once. SIGHUP: reads the GeoIP database anew.
int serve(const std::string& config_path);

/// Prints what is wrong with a configuration file, then what this machine would allow the server.
int check(const std::string& config_path);

/// Writes lines to stderr: what keeps a command from doing its work, before there is a log.
void complain(const std::string& lines);

}  // namespace mc::app
