// SPDX-License-Identifier: Apache-2.0
// mc-proxy log-level: how much a running server logs.

#include <fmt/format.h>

#include <memory>
#include <string>

#include "cli/client.hpp"
#include "cli/commands.hpp"
#include "cli/enum_words.hpp"
#include "cli/print_json.hpp"

namespace mc::cli {

namespace api = mc_proxy::v1;

namespace {

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
  request.set_level(value_of<api::LogLevel>(level));
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
      ->check(CLI::IsMember(words_of<api::LogLevel>()));
}

}  // namespace mc::cli
