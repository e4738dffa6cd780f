// SPDX-License-Identifier: Apache-2.0
// mc-proxy backends: the backends of a running server's pools.

#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/quote.hpp"
#include "cli/client.hpp"
#include "cli/commands.hpp"
#include "cli/complain.hpp"
#include "cli/enum_words.hpp"
#include "cli/format.hpp"
#include "cli/pool_client.hpp"
#include "cli/print_json.hpp"
#include "policy/limits.hpp"
#include "policy/pool.hpp"

namespace mc::cli {

namespace api = mc_proxy::v1;

namespace {

struct BackendWords {
  std::string pool, address;
  // What was given; what is left out is the default, or stays.
  std::optional<std::string> state;
  std::optional<std::uint32_t> weight;
  std::optional<std::uint64_t> max_connections;
  std::optional<bool> backup;
  bool replace = false;
  bool close_sessions = false;
  ChangeWords change;
};

// "10.0.0.1:443 (app.internal:443)": an address with the name that it was resolved from.
std::string address_of(const api::BackendStatus& one) {
  if (one.resolved_from().empty() || one.resolved_from() == one.address()) return one.address();
  return fmt::format("{} ({})", one.address(), one.resolved_from());
}

std::string or_dash(const std::string& text) { return text.empty() ? "-" : text; }

void print_table(const api::ListPoolsResponse& all) {
  std::vector<std::vector<std::string>> rows = {{"POOL", "ADDRESS", "STATE", "HEALTH", "SINCE",
                                                 "WEIGHT", "ACTIVE", "TOTAL", "FAILURES", "UP",
                                                 "DOWN", "REASON"}};
  const auto now = std::chrono::system_clock::now();
  for (const api::PoolStatus& pool : all.pools()) {
    for (const api::BackendStatus& one : pool.backends()) {
      rows.push_back({one.pool(), address_of(one), word_of(one.state()), word_of(one.health()),
                      or_dash(time_since(one, now)),
                      fmt::format("{}{}", one.backup() ? "backup " : "", one.weight()),
                      fmt::to_string(one.active_connections()),
                      fmt::to_string(one.total_connections()), fmt::to_string(one.dial_failures()),
                      format_bytes(one.bytes_up()), format_bytes(one.bytes_down()),
                      or_dash(printable(one.reason()))});
    }
  }
  fmt::print("{}", format_table(rows, {4, 5, 6, 7, 8, 9, 10}));
}

int list_backends(const ClientOptions& options, const std::string& pool) {
  if (!all_ascii({pool})) return kFailed;
  auto client = Client::connect(options);
  if (!client.has_value()) return client.error();
  const auto all = fetch_pools(*client, pool);
  if (!all.has_value()) return all.error();
  if (options.json) {
    print_json(*all);
    return kDone;
  }
  fmt::print("# revision {}\n", all->revision());
  print_table(*all);
  return kDone;
}

void write(const BackendWords& words, api::Backend& backend) {
  if (words.state) backend.set_state(value_of<api::BackendState>(*words.state));
  if (words.weight) backend.set_weight(*words.weight);
  if (words.max_connections) backend.set_max_connections(*words.max_connections);
  if (words.backup) backend.set_backup(*words.backup);
}

std::string describe(const BackendWords& words) {
  return fmt::format("backend {} of pool {}", words.address, words.pool);
}

int apply(const ClientOptions& options, const BackendWords& words, const api::Change& change) {
  if (!all_ascii({words.pool, words.address})) return kFailed;
  auto client = Client::connect(options);
  if (!client.has_value()) return client.error();
  const auto response = apply_change(*client, change, words.change);
  if (!response.has_value()) return response.error();
  print_change(*response, options, words.change, describe(words));
  return kDone;
}

int add_backend(const ClientOptions& options, const BackendWords& words) {
  api::Change change;
  api::PoolBackend& added =
      *(words.replace ? change.mutable_put_backend() : change.mutable_add_backend());
  added.set_pool(words.pool);
  added.mutable_backend()->set_address(words.address);
  write(words, *added.mutable_backend());
  return apply(options, words, change);
}

int remove_backend(const ClientOptions& options, const BackendWords& words) {
  api::Change change;
  change.mutable_remove_backend()->set_pool(words.pool);
  change.mutable_remove_backend()->set_address(words.address);
  return apply(options, words, change);
}

// ---- set

// The state alone: the server needs no other field of the backend.
int set_state(Client& client, const ClientOptions& options, const BackendWords& words) {
  api::SetBackendStateRequest request;
  request.set_pool(words.pool);
  request.set_address(words.address);
  request.set_state(value_of<api::BackendState>(*words.state));
  request.set_close_sessions(words.close_sessions);
  if (words.change.if_revision) request.set_if_revision(*words.change.if_revision);
  api::SetBackendStateResponse response;
  const grpc::Status asked = client.call(&Client::Stub::SetBackendState, request, response);
  if (!asked.ok()) return client.fail(asked);
  if (options.json) {
    print_json(response);
    return kDone;
  }
  const std::string closed =
      words.close_sessions ? ", closed " + format_items(response.closed(), "connection") : "";
  fmt::print("{} is {}{}, revision {}\n", describe(words), *words.state, closed,
             response.revision());
  return kDone;
}

// Puts the backend with what was given changed. False: the pool does not have it.
bool edit_backend(const BackendWords& words, const api::Pool& pool, api::Change& change) {
  // The server writes addresses in one form, a person perhaps in another.
  const auto address = policy::parse_pool_address(words.address);
  const std::string wanted = address.has_value() ? address->to_string() : words.address;
  for (const api::Backend& backend : pool.backends()) {
    if (backend.address() != wanted) continue;
    change.mutable_put_backend()->set_pool(pool.name());
    *change.mutable_put_backend()->mutable_backend() = backend;
    write(words, *change.mutable_put_backend()->mutable_backend());
    return true;
  }
  complain(
      fmt::format("mc-proxy: pool {} has no backend {}; see which it has: mc-proxy backends "
                  "list {}",
                  quote(pool.name()), quote(words.address), pool.name()));
  return false;
}

// How many connections were closed, or the exit code.
std::expected<std::uint64_t, int> close_sessions(Client& client, const BackendWords& words) {
  api::CloseConnectionsRequest request;
  request.mutable_filter()->set_pool(words.pool);
  request.mutable_filter()->set_backend(words.address);
  api::CloseConnectionsResponse response;
  const grpc::Status asked = client.call(&Client::Stub::CloseConnections, request, response);
  if (!asked.ok()) return std::unexpected(client.fail(asked));
  return response.closed();
}

int set_backend(const ClientOptions& options, const BackendWords& words) {
  if (!all_ascii({words.pool, words.address})) return kFailed;
  const bool has_fields = words.weight || words.max_connections || words.backup;
  if (!has_fields && !words.state) {
    complain(
        "mc-proxy: what is to be set? Give a field, such as --state; see `mc-proxy backends set "
        "--help`");
    return kUsage;
  }
  auto client = Client::connect(options);
  if (!client.has_value()) return client.error();
  if (!has_fields && !words.change.dry_run) return set_state(*client, options, words);
  const auto edit = [&words](const api::Pool& pool, api::Change& change) {
    return edit_backend(words, pool, change);
  };
  const auto response = edit_pool(*client, words.pool, edit, words.change);
  if (!response.has_value()) return response.error();
  std::string more;
  if (words.close_sessions) {
    const auto closed = close_sessions(*client, words);
    if (!closed.has_value()) return closed.error();
    more = ", closed " + format_items(*closed, "connection");
  }
  print_change(*response, options, words.change, describe(words), more);
  return kDone;
}

// ---- the words

CLI::App& with_names(CLI::App& command, BackendWords& words) {
  command.add_option("pool", words.pool, "As in `pools list`")->required();
  command.add_option("address", words.address, "ip:port, [ipv6]:port, name:port or unix:/path")
      ->required();
  return command;
}

void with_fields(CLI::App& command, BackendWords& words) {
  command.add_option("--state", words.state, "drain: no new connections; maintenance: nor checks")
      ->check(CLI::IsMember(words_of<api::BackendState>()));
  command
      .add_option("--weight", words.weight,
                  "Its share, 0 to 1000; 0: only what no other backend can take")
      ->check(CLI::Range(std::uint32_t{0}, static_cast<std::uint32_t>(policy::kWeightMax)));
  command.add_option("--max-connections", words.max_connections,
                     "Open connections at most; 0: no limit");
}

void add_add_remove(CommandLine& line, CLI::App& backends) {
  const auto words = std::make_shared<BackendWords>();
  CLI::App& add = line.with_server(
      line.add(backends, "add", "Add a backend to a pool",
               [words](const ClientOptions& options) { return add_backend(options, *words); }));
  with_fields(with_names(add, *words), *words);
  add_choice(add, "--backup", words->backup, "Only while no other backend is eligible");
  add.add_flag("--replace", words->replace, "If the pool has the backend, replace it");
  with_conditions(add, words->change);

  CLI::App& remove = line.with_server(
      line.add(backends, "remove", "Remove a backend of a pool; open connections continue",
               [words](const ClientOptions& options) { return remove_backend(options, *words); }));
  with_names(remove, *words);
  with_conditions(remove, words->change);
}

void add_set(CommandLine& line, CLI::App& backends) {
  const auto words = std::make_shared<BackendWords>();
  CLI::App& set = line.with_server(
      line.add(backends, "set", "Change a backend of a pool",
               [words](const ClientOptions& options) { return set_backend(options, *words); }));
  with_fields(with_names(set, *words), *words);
  add_choice(set, "--backup,!--no-backup", words->backup,
             "Whether it is only used while no other backend is eligible");
  with_conditions(set, words->change);
  set.add_flag("--close-sessions", words->close_sessions,
               "Also reset its open connections of this pool")
      ->excludes("--dry-run");
}

}  // namespace

void add_backends(CommandLine& line) {
  CLI::App& backends = line.add_group("backends", "Show and change the backends of pools");
  const auto pool = std::make_shared<std::string>();
  line.with_server(
          line.add(backends, "list", "Show backends and their state",
                   [pool](const ClientOptions& options) { return list_backends(options, *pool); }))
      .add_option("pool", *pool, "Only those of this pool");
  add_add_remove(line, backends);
  add_set(line, backends);
}

}  // namespace mc::cli
