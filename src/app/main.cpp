// SPDX-License-Identifier: Apache-2.0
// The command line. Each subcommand has a file of its own; this one only reads the words.

#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "app/commands.hpp"

namespace {

// A descriptor that was closed at the start would become a socket's, and the log would go to a
// client.
void open_standard_descriptors() {
  int fd = 0;
  do {
    fd = ::open("/dev/null", O_RDWR);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) ::close(fd);
}

}  // namespace

int main(int argc, char** argv) {
  open_standard_descriptors();
  CLI::App app{"mc-proxy: routes TLS connections by server name, without decrypting them"};
  app.require_subcommand(1);
  app.set_help_flag("-h,--help", "Show this help");

  std::string config_path = mc::app::kDefaultConfigPath;
  const auto with_config = [&config_path](CLI::App* command) {
    command->add_option("-c,--config", config_path, "Configuration file")->capture_default_str();
    return command;
  };
  CLI::App* const server =
      with_config(app.add_subcommand("server", "Serve until told to stop (SIGTERM, SIGINT)"));
  CLI::App* const check = with_config(
      app.add_subcommand("check", "Check a configuration file, and what this machine allows"));
  CLI::App* const version = app.add_subcommand("version", "Print the version");

  CLI11_PARSE(app, argc, argv);

  if (*server) return mc::app::serve(config_path);
  if (*check) return mc::app::check(config_path);
  if (*version) std::puts("mc-proxy v" MC_PROXY_VERSION);
  return 0;
}
