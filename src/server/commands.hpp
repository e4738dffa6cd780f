// SPDX-License-Identifier: Apache-2.0
#pragma once
// The commands that start a server, replace it, or check whether it would start. Each registers its
// words and their meaning with the command line, in the file of its name.

#include "cli/command_line.hpp"

namespace mc::server {

void add_server(cli::CommandLine& line);
void add_upgrade(cli::CommandLine& line);
void add_check(cli::CommandLine& line);

}  // namespace mc::server
