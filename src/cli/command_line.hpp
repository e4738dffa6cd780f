// SPDX-License-Identifier: Apache-2.0
#pragma once
// The command line: commands register their words here, and run() chooses one. One thread.

#include <CLI/CLI.hpp>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/client.hpp"

namespace mc::cli {

class CommandLine {
 public:
  CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  /// Does what a command's words mean, and returns the process's exit code, one of ExitCode; if it
  /// is not 0, it has written why to stderr. Owns the variables that the words are read into.
  using Run = std::function<int(const ClientOptions& options)>;

  /// A command: `mc-proxy NAME`.
  CLI::App& add(const char* name, const char* help, Run run) { return add(app_, name, help, run); }
  /// A command of a group: `mc-proxy GROUP NAME`.
  CLI::App& add(CLI::App& group, const char* name, const char* help, Run run);
  CLI::App& add_group(const char* name, const char* help);
  /// `mc-proxy version` and `mc-proxy help`, listed at the place of this call.
  void add_version_and_help();

  /// These give a command the words that set its ClientOptions. --config:
  CLI::App& with_config(CLI::App& command);
  /// --json:
  CLI::App& with_json(CLI::App& command);
  /// Those, and all words to find a running server:
  CLI::App& with_server(CLI::App& command);

  /// All commands, for the completion of their words.
  [[nodiscard]] const CLI::App& app() const { return app_; }

  /// Runs the chosen command, or prints what is wrong with the words.
  int run(int argc, char** argv);

 private:
  int exit(const CLI::Error& error) { return app_.exit(error) == 0 ? kDone : kUsage; }
  [[nodiscard]] const CLI::App& last_command() const;
  [[nodiscard]] int print_help(const std::vector<std::string>& words) const;

  CLI::App app_{"mc-proxy: routes TLS connections by server name, without decrypting them"};
  Run command_;  // what the words have chosen
  ClientOptions client_;
};

/// Gives a command a flag and its opposite: "--cut,!--no-cut". Neither of them leaves `into` empty;
/// CLI11's own add_flag() sets an optional to false then (2.1).
CLI::Option* add_choice(CLI::App& command, const char* flags, std::optional<bool>& into,
                        const char* help);

}  // namespace mc::cli
