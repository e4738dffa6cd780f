// SPDX-License-Identifier: Apache-2.0
// mc-proxy completion: scripts for shells, made from the command line that is parsed, so that they
// agree with it.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>

#include "cli/commands.hpp"

namespace mc::cli {
namespace {

std::string words_after(const CLI::App& command) {
  std::string words;
  for (const CLI::App* const sub : command.get_subcommands({})) words += sub->get_name() + " ";
  for (const CLI::Option* const option : command.get_options()) {
    for (const std::string& name : option->get_snames()) words += "-" + name + " ";
    for (const std::string& name : option->get_lnames()) words += "--" + name + " ";
  }
  return words;
}

// One line of a shell's `case` for each command: its words so far, and what may follow.
void append_cases(const CLI::App& command, const std::string& path, std::string& out) {
  out += fmt::format("    \"{}\") candidates=\"{}\" ;;\n", path, words_after(command));
  for (const CLI::App* const sub : command.get_subcommands({})) {
    append_cases(*sub, path + (path.empty() ? "" : " ") + sub->get_name(), out);
  }
}

// Both shells: the command words before the cursor choose the case; if nothing in it matches, files
// are offered.
constexpr const char* kBash = R"(# bash completion of mc-proxy: source it, or put it into
# /usr/share/bash-completion/completions/mc-proxy
_mc_proxy() {{
  local place="" word candidates=""
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case " {} " in *" $word "*) place="${{place:+$place }}$word" ;; esac
  done
  case "$place" in
{}  esac
  COMPREPLY=($(compgen -W "$candidates" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _mc_proxy mc-proxy
)";

constexpr const char* kZsh = R"(#compdef mc-proxy
# zsh completion of mc-proxy: put it as _mc-proxy into a folder of $fpath
_mc_proxy() {{
  local place="" word candidates=""
  for word in "${{(@)words[2,CURRENT-1]}}"; do
    case " {} " in *" $word "*) place="${{place:+$place }}$word" ;; esac
  done
  case "$place" in
{}  esac
  compadd -- ${{=candidates}}
  _files
}}
_mc_proxy "$@"
)";

void append_commands(const CLI::App& command, std::string& out) {
  for (const CLI::App* const sub : command.get_subcommands({})) {
    out += (out.empty() ? "" : " ") + sub->get_name();
    append_commands(*sub, out);
  }
}

// Prints a script that completes the words of `app` in a shell.
int print_completion(const CLI::App& app, const std::string& shell) {
  std::string cases;
  append_cases(app, "", cases);
  std::string commands;
  append_commands(app, commands);
  std::fputs(fmt::format(fmt::runtime(shell == "zsh" ? kZsh : kBash), commands, cases).c_str(),
             stdout);
  return kDone;
}

}  // namespace

void add_completion(CommandLine& line) {
  const auto shell = std::make_shared<std::string>();
  line.add("completion", "Print a completion script for a shell",
           [&line, shell](const ClientOptions&) { return print_completion(line.app(), *shell); })
      .add_option("shell", *shell)
      ->required()
      ->check(CLI::IsMember({"bash", "zsh"}));
}

}  // namespace mc::cli
