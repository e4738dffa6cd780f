// SPDX-License-Identifier: Apache-2.0
#pragma once
// The command line: commands register their words here, and run() chooses one. One thread.

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "cli/client.hpp"

namespace mc::cli {

class CommandLine {
 public:
  CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  /// Does what a command's words say, and returns the process's exit code, one of ExitCode; if it
  /// is not 0, stderr says why. Owns what the words are read into.
  using Run = std::function<int(const ClientOptions& options)>;

  /// A command: `mc-proxy NAME`.
  CLI::App& add(const char* name, const char* help, Run run) { return add(app_, name, help, run); }
  /// A command of a group: `mc-proxy GROUP NAME`.
  CLI::App& add(CLI::App& group, const char* name, const char* help, Run run);
  CLI::App& add_group(const char* name, const char* help);
  /// `mc-proxy version` and `mc-proxy help`, which stand where this is called.
  void add_version_and_help();

  /// These give a command the words that fill in its ClientOptions. --config:
  CLI::App& with_config(CLI::App& command);
  /// --json:
  CLI::App& with_json(CLI::App& command);
  /// Those, and all by which a running server is found:
  CLI::App& with_server(CLI::App& command);

  /// All commands, for the completion of their words.
  [[nodiscard]] const CLI::App& app() const { return app_; }

  /// Runs the command that the words choose, or says what is wrong with them.
  int run(int argc, char** argv);

 private:
  int exit(const CLI::Error& error) { return app_.exit(error) == 0 ? kDone : kUsage; }
  [[nodiscard]] const CLI::App& last_command() const;
  [[nodiscard]] int print_help(const std::vector<std::string>& words) const;

  CLI::App app_{"mc-proxy: routes TLS connections by server name, without decrypting them"};
  Run command_;  // what the words have chosen
  ClientOptions client_;
};

}  // namespace mc::cli
