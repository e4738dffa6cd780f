// SPDX-License-Identifier: Apache-2.0
#include "cli/command_line.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

#include "base/json.hpp"
#include "base/quote.hpp"
#include "base/spelling.hpp"
#include "cli/complain.hpp"

namespace mc::cli {
namespace {

int complain_of_word(const CLI::App& parent, const std::string& word) {
  std::vector<std::string> names;
  for (const CLI::App* const one : parent.get_subcommands({})) names.push_back(one->get_name());
  const std::vector<std::string_view> known(names.begin(), names.end());
  const std::string_view meant = closest(word, known);
  std::string path = "mc-proxy";
  if (parent.get_parent() != nullptr) path += " " + parent.get_name();
  std::string problem = word.empty() ? std::string("a command is missing")
                                     : fmt::format("there is no command {}", quote(word));
  if (!meant.empty()) problem += fmt::format("; did you mean {}?", quote(meant));
  complain(fmt::format("{}: {}\nThere are: {}. See `{} --help`.", path, problem,
                       fmt::join(known, ", "), path));
  return kUsage;
}

// The words so far name `parent`, and the next word is none of its commands.
int complain_of_command(const CLI::App& parent) {
  const std::vector<std::string> words = parent.remaining();
  const auto word = std::ranges::find_if(words, [](const auto& one) { return one[0] != '-'; });
  return complain_of_word(parent, word != words.end() ? *word : "");
}

}  // namespace

CommandLine::CommandLine() {
  app_.require_subcommand(1);
  app_.set_help_flag("-h,--help", "Show this help");
  app_.set_help_all_flag("--help-all", "Show the help of every command");
  app_.set_version_flag("--version", "mc-proxy v" MC_PROXY_VERSION, "Print the version");
  app_.footer(
      "Exit codes: 0, done; 1, it could not be done; 2, the command line is wrong; 3, no server "
      "could be reached; 78, `server` was not started because the configuration is wrong.");
}

CLI::App& CommandLine::add(CLI::App& group, const char* name, const char* help, Run run) {
  CLI::App& command = *group.add_subcommand(name, help);
  command.callback([this, run = std::move(run)] { command_ = run; });
  return command;
}

CLI::App& CommandLine::add_group(const char* name, const char* help) {
  CLI::App& group = *app_.add_subcommand(name, help);
  group.require_subcommand(1);
  return group;
}

void CommandLine::add_version_and_help() {
  with_json(add("version", "Print the version", [](const ClientOptions& options) {
    JsonWriter json;
    json.begin_object().member("version", MC_PROXY_VERSION).end();
    std::puts(options.json ? json.text().c_str() : "mc-proxy v" MC_PROXY_VERSION);
    return int{kDone};
  }));
  const auto words = std::make_shared<std::vector<std::string>>();
  add("help", "Show this help, or that of a command", [this, words](const ClientOptions&) {
    return print_help(*words);
  }).add_option("command", *words, "Such as: routes add");
}

CLI::App& CommandLine::with_config(CLI::App& command) {
  command.add_option("-c,--config", client_.config_path, "Configuration file")
      ->capture_default_str();
  return command;
}

CLI::App& CommandLine::with_json(CLI::App& command) {
  command.add_flag("--json", client_.json, "Print JSON");
  return command;
}

CLI::App& CommandLine::with_server(CLI::App& command) {
  with_json(with_config(command));
  command.add_option("--address", client_.address,
                     "Use the server at HOST:PORT instead of the socket of the configuration");
  command
      .add_option("--socket", client_.socket,
                  "Use the server at this Unix socket; the configuration is not read")
      ->excludes("--address");
  CLI::Option* const ca =
      command.add_option("--ca", client_.ca, "CA of the server's certificate (PEM)");
  CLI::Option* const certificate =
      command.add_option("--cert", client_.certificate, "Certificate of this client (PEM)");
  CLI::Option* const key = command.add_option("--key", client_.key, "Key of this client (PEM)");
  ca->needs(certificate)->needs(key);
  certificate->needs(ca)->needs(key);
  key->needs(ca)->needs(certificate);
  return command;
}

int CommandLine::run(int argc, char** argv) {
  try {
    app_.parse(argc, argv);
  } catch (const CLI::RequiredError& error) {
    // The last command word may need another one after it.
    const CLI::App& last = last_command();
    if (last.get_require_subcommand_min() > 0) return complain_of_command(last);
    return exit(error);
  } catch (const CLI::ParseError& error) {
    return exit(error);
  }
  const int code = command_(client_);
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
  complain(std::string("mc-proxy: the output could not be written: ") + std::strerror(errno));
  return code == kDone ? int{kFailed} : code;
}

const CLI::App& CommandLine::last_command() const {
  const CLI::App* last = &app_;
  while (!last->get_subcommands().empty()) last = last->get_subcommands().front();
  return *last;
}

int CommandLine::print_help(const std::vector<std::string>& words) const {
  const CLI::App* command = &app_;
  std::string path = app_.get_name();
  for (const std::string& word : words) {
    const auto below =
        command->get_subcommands([&word](const CLI::App* one) { return one->get_name() == word; });
    if (below.empty()) return complain_of_word(*command, word);
    command = below.front();
    path += " " + word;
  }
  // App::help() would describe the command that was given, which is `help`.
  const auto formatter = command->get_formatter();
  std::fputs(formatter->make_help(command, path, CLI::AppFormatMode::Normal).c_str(), stdout);
  return kDone;
}

CLI::Option* add_choice(CLI::App& command, const char* flags, std::optional<bool>& into,
                        const char* help) {
  return command.add_flag_function(flags, [&into](std::int64_t count) { into = count > 0; }, help);
}

}  // namespace mc::cli
