// SPDX-License-Identifier: Apache-2.0
// mc-proxy connections: lists and closes a running server's connections.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/client.hpp"
#include "cli/commands.hpp"
#include "cli/complain.hpp"
#include "cli/enum_words.hpp"
#include "cli/format.hpp"
#include "cli/print_json.hpp"

namespace mc::cli {

namespace api = mc_proxy::v1;

namespace {

// Selects open connections: those that match every field that is not empty.
struct ConnectionOptions {
  std::string listener, sni, source, backend, pool, id;
  bool all = false;  // to close all of them is meant
  bool dry_run = false;
};

// Prints rows as they come, some hundred at a time, so a column may become wider on the way, and
// stays so.
class Table {
 public:
  /// Returns whether it was written.
  bool add(const api::ListConnectionsResponse& message) {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    std::vector<Row> rows;
    for (const api::Connection& one : message.connections()) {
      const auto age = now - std::chrono::seconds(one.started_at().seconds());
      rows.push_back({one.id(), one.listener_addr(), one.client(), or_dash(one.sni()),
                      or_dash(one.backend()), word_of(one.stage()), format_seconds(age),
                      format_seconds(std::chrono::seconds(one.idle().seconds())),
                      format_bytes(one.bytes_up()), format_bytes(one.bytes_down())});
      for (std::size_t i = 0; i < widths_.size(); ++i) {
        widths_[i] = std::max(widths_[i], rows.back()[i].size());
      }
    }
    if (!std::exchange(begun_, true) && !print(titles_)) return false;
    return std::ranges::all_of(rows, [this](const Row& row) { return print(row); });
  }

 private:
  using Row = std::array<std::string, 10>;
  static constexpr std::size_t kTexts = 6;  // the columns before it are texts, the others numbers

  static std::string or_dash(const std::string& text) { return text.empty() ? "-" : text; }

  [[nodiscard]] bool print(const Row& row) const {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += i < kTexts ? fmt::format("{:<{}}", row[i], widths_[i])
                         : fmt::format("{:>{}}", row[i], widths_[i]);
      line += i + 1 < row.size() ? "  " : "";
    }
    return std::puts(line.c_str()) >= 0;
  }

  const Row titles_ = {"ID",    "LISTENER", "CLIENT", "SNI", "BACKEND",
                       "STAGE", "AGE",      "IDLE",   "UP",  "DOWN"};
  std::array<std::size_t, 10> widths_{6, 8, 21, 24, 21, 5, 7, 7, 8, 8};
  bool begun_ = false;
};

api::ConnectionFilter filter_of(const ConnectionOptions& which) {
  api::ConnectionFilter filter;
  filter.set_listener_addr(which.listener);
  filter.set_sni(which.sni);
  filter.set_source(which.source);
  filter.set_backend(which.backend);
  filter.set_pool(which.pool);
  filter.set_id(which.id);
  return filter;
}

bool is_ascii(const ConnectionOptions& which) {
  return all_ascii({which.listener, which.sni, which.source, which.backend, which.pool, which.id});
}

// The command line's name for "filter.source".
std::string option_of(const std::string& field) {
  const std::string name = field.substr(field.rfind('.') + 1);
  return name == "listener_addr" ? "--listener" : "--" + name;
}

int list_connections(const ClientOptions& options, const ConnectionOptions& which) {
  if (!is_ascii(which)) return kFailed;
  auto client = Client::connect(options);
  if (!client.has_value()) return client.error();
  api::ListConnectionsRequest request;
  *request.mutable_filter() = filter_of(which);
  grpc::ClientContext context;
  grpc::Status asked;
  if (options.json) {
    const auto print = [](const api::ListConnectionsResponse& message) {
      return std::ranges::all_of(message.connections(), print_json_line);
    };
    asked = client->read(&Client::Stub::ListConnections, request, print, context);
  } else {
    Table table;
    const auto print = [&table](const api::ListConnectionsResponse& message) {
      return table.add(message);
    };
    asked = client->read(&Client::Stub::ListConnections, request, print, context);
    if (asked.ok()) print({});  // the titles, where there are no connections
  }
  return asked.ok() ? int{kDone} : client->fail(asked, option_of);
}

int close_connections(const ClientOptions& options, const ConnectionOptions& which) {
  if (!is_ascii(which)) return kFailed;
  api::CloseConnectionsRequest request;
  *request.mutable_filter() = filter_of(which);
  request.set_all(which.all);
  request.set_dry_run(which.dry_run);
  if (request.filter().ByteSizeLong() == 0 && !which.all) {
    complain(
        "mc-proxy: which connections? Select them with --listener, --sni, --source, --backend, "
        "--pool or --id, or all with --all");
    return kUsage;
  }
  auto client = Client::connect(options);
  if (!client.has_value()) return client.error();
  api::CloseConnectionsResponse response;
  const grpc::Status asked = client->call(&Client::Stub::CloseConnections, request, response);
  if (!asked.ok()) return client->fail(asked, option_of);
  if (options.json) {
    print_json(response);
  } else if (response.closed() > 0 || which.all || which.dry_run) {
    fmt::print("{} {}\n", which.dry_run ? "would close" : "closed",
               format_items(response.closed(), "connection"));
  }
  // A named connection is not there: it has ended, or the name is wrong.
  if (response.closed() > 0 || which.all || which.dry_run) return kDone;
  complain("mc-proxy: no connection matches; see which are open: mc-proxy connections list");
  return kFailed;
}

void with_filter(CLI::App& command, ConnectionOptions& which) {
  command.add_option("-l,--listener", which.listener,
                     "Only connections of this listener, such as :443");
  command.add_option("--sni", which.sni,
                     "Only connections for this name: app.example.com, *.example.com");
  command.add_option("--source", which.source, "Only connections from this address or CIDR block");
  command.add_option("--backend", which.backend, "Only connections to this backend: ip:port");
  command.add_option("--pool", which.pool, "Only connections to backends of this pool");
  command.add_option("--id", which.id, "Only the connection with this id, as listed");
}

}  // namespace

void add_connections(CommandLine& line) {
  const auto which = std::make_shared<ConnectionOptions>();
  CLI::App& connections = line.add_group("connections", "Show and close open connections");
  CLI::App& list = line.with_server(line.add(
      connections, "list", "Show open connections; with --json, one per line",
      [which](const ClientOptions& options) { return list_connections(options, *which); }));
  with_filter(list, *which);
  CLI::App& close = line.with_server(line.add(
      connections, "close", "Reset open connections",
      [which](const ClientOptions& options) { return close_connections(options, *which); }));
  with_filter(close, *which);
  close.add_flag("--all", which->all, "All open connections");
  close.add_flag("--dry-run", which->dry_run, "Only print how many match");
}

}  // namespace mc::cli
