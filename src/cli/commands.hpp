// SPDX-License-Identifier: Apache-2.0
#pragma once
// The commands that call a running server or work on its files. Each registers its words and their
// meaning with the command line, in the file of its name.

#include "cli/command_line.hpp"

namespace mc::cli {

void add_status(CommandLine& line);
void add_snapshot(CommandLine& line);
void add_routes(CommandLine& line);
void add_pools(CommandLine& line);
void add_backends(CommandLine& line);
void add_firewall(CommandLine& line);
void add_connections(CommandLine& line);
void add_events(CommandLine& line);
void add_top(CommandLine& line);
void add_log_level(CommandLine& line);
void add_completion(CommandLine& line);

}  // namespace mc::cli
