// SPDX-License-Identifier: Apache-2.0
// The program: what every command needs of the process, and the commands in the order of --help.

#include <fcntl.h>
#include <unistd.h>

#include <csignal>

#include "app/last_words.hpp"
#include "cli/command_line.hpp"
#include "cli/commands.hpp"
#include "server/commands.hpp"

namespace {

// The number of a descriptor closed at the start would go to a socket, and the log to a client.
void open_standard_descriptors() {
  int fd = 0;
  do {
    fd = ::open("/dev/null", O_RDWR);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) ::close(fd);
}

}  // namespace

int main(int argc, char** argv) {
  // A write beyond RLIMIT_FSIZE then fails with EFBIG, which every writer reports, instead of
  // ending the process without a message (setrlimit(2)).
  std::signal(SIGXFSZ, SIG_IGN);
  open_standard_descriptors();
  mc::app::install_last_words();

  mc::cli::CommandLine line;
  mc::server::add_server(line);
  mc::server::add_upgrade(line);
  mc::cli::add_status(line);
  mc::cli::add_snapshot(line);
  mc::cli::add_routes(line);
  mc::cli::add_pools(line);
  mc::cli::add_backends(line);
  mc::cli::add_firewall(line);
  mc::cli::add_connections(line);
  mc::cli::add_events(line);
  mc::cli::add_top(line);
  mc::cli::add_log_level(line);
  mc::server::add_check(line);
  line.add_version_and_help();
  mc::cli::add_completion(line);
  return line.run(argc, argv);
}
