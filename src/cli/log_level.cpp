// SPDX-License-Identifier: Apache-2.0
// mc-proxy log-level: how much a running server logs.

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "cli/client.hpp"
#include "cli/commands.hpp"

namespace mc::cli {

namespace api = mc_proxy::v1;

namespace {

constexpr std::string_view kEnumPrefix = "LOG_LEVEL_";

// LOG_LEVEL_DEBUG -> "debug".
std::string word_of(api::LogLevel level) {
  std::string word = api::LogLevel_Name(level);
  word.erase(0, std::min(kEnumPrefix.size(), word.size()));
  std::ranges::transform(word, word.begin(), [](unsigned char c) { return std::tolower(c); });
  return word;
}

api::LogLevel level_of(std::string word) {
  std::ranges::transform(word, word.begin(), [](unsigned char c) { return std::toupper(c); });
  api::LogLevel level = api::LOG_LEVEL_UNSPECIFIED;
  static_cast<void>(api::LogLevel_Parse(std::string(kEnumPrefix) + word, &level));
  return level;
}

// Text after the level; empty where a restart would give the same level.
std::string until_restart(api::LogLevel level, api::LogLevel configured) {
  if (level == configured) return "";
  return fmt::format("; {} again after a restart", word_of(configured));
}

int show(Client& client, const ClientOptions& options) {
  api::GetLogLevelResponse response;
  const grpc::Status asked =
      client.call(&Client::Stub::GetLogLevel, api::GetLogLevelRequest(), response);
  if (!asked.ok()) return client.fail(asked);
  if (options.json) {
    print_json(response);
  } else {
    fmt::print("{}{}\n", word_of(response.level()),
               until_restart(response.level(), response.configured()));
  }
  return kDone;
}

// Prints the level of the server's log; with a `level` ("debug", "info", "warn" or "error") sets it
// until the server's next start.
int log_level(const ClientOptions& options, const std::string& level) {
  auto client = Client::connect(options);
  if (!client.has_value()) return client.error();
  if (level.empty()) return show(*client, options);
  api::SetLogLevelRequest request;
  request.set_level(level_of(level));
  api::SetLogLevelResponse response;
  const grpc::Status asked = client->call(&Client::Stub::SetLogLevel, request, response);
  if (!asked.ok()) return client->fail(asked);
  if (options.json) {
    print_json(response);
  } else {
    fmt::print("{}, was {}{}\n", word_of(response.level()), word_of(response.previous()),
               until_restart(response.level(), response.configured()));
  }
  return kDone;
}

}  // namespace

void add_log_level(CommandLine& line) {
  const auto level = std::make_shared<std::string>();
  line.with_server(
          line.add("log-level", "Show the level of the server's log, or change it",
                   [level](const ClientOptions& options) { return log_level(options, *level); }))
      .add_option("level", *level, "In force until the server's next start")
      ->check(CLI::IsMember({"debug", "info", "warn", "error"}));
}

}  // namespace mc::cli
