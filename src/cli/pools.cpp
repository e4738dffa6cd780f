// SPDX-License-Identifier: Apache-2.0
// mc-proxy pools: the pools of a running server.

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/duration.hpp"
#include "cli/client.hpp"
#include "cli/commands.hpp"
#include "cli/complain.hpp"
#include "cli/enum_words.hpp"
#include "cli/format.hpp"
#include "cli/pool_client.hpp"
#include "cli/print_json.hpp"
#include "policy/limits.hpp"

namespace mc::cli {

namespace api = mc_proxy::v1;

namespace {

// The settings that were given; those left out are the default, or stay.
struct PoolWords {
  std::optional<std::string> balance, all_down, on_down;
  std::optional<std::uint32_t> retries, hash_prefix_v4, hash_prefix_v6;
  std::optional<std::chrono::milliseconds> dial_budget, slow_start;
  std::optional<std::string> send_proxy;
  std::vector<std::string> send_proxy_tlvs;
  std::optional<std::string> check, check_name;
  std::optional<std::chrono::milliseconds> check_interval, check_fast_interval, check_timeout;
  std::optional<std::uint32_t> check_rise, check_fall;

  bool operator==(const PoolWords&) const = default;
};

struct AddWords {
  api::Pool pool;  // its name and its backends
  std::vector<std::string> addresses;
  PoolWords settings;
  bool replace = false;  // a pool of that name is replaced
  ChangeWords change;
};

struct SetWords {
  std::string name;
  PoolWords settings;
  ChangeWords change;
};

std::chrono::milliseconds to_milliseconds(const google::protobuf::Duration& duration) {
  return std::chrono::seconds(duration.seconds()) +
         std::chrono::milliseconds(duration.nanos() / 1'000'000);
}

google::protobuf::Duration to_api(std::chrono::milliseconds time) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  google::protobuf::Duration duration;
  duration.set_seconds(seconds.count());
  duration.set_nanos(static_cast<std::int32_t>(std::chrono::nanoseconds(time - seconds).count()));
  return duration;
}

void write_check(const PoolWords& words, api::Check& check) {
  if (words.check) check.set_kind(value_of<api::CheckKind>(*words.check));
  if (words.check_name) check.set_name(*words.check_name);
  if (words.check_interval) *check.mutable_interval() = to_api(*words.check_interval);
  if (words.check_fast_interval) {
    *check.mutable_fast_interval() = to_api(*words.check_fast_interval);
  }
  if (words.check_timeout) *check.mutable_timeout() = to_api(*words.check_timeout);
  if (words.check_rise) check.set_rise(*words.check_rise);
  if (words.check_fall) check.set_fall(*words.check_fall);
}

// A header has the TLVs that are given with it, and no earlier ones.
void write_send_proxy(const PoolWords& words, api::Pool& pool) {
  if (words.send_proxy) pool.set_send_proxy(value_of<api::SendProxy>(*words.send_proxy));
  if (words.send_proxy || !words.send_proxy_tlvs.empty()) pool.clear_send_proxy_tlvs();
  for (const std::string& tlv : words.send_proxy_tlvs) {
    pool.add_send_proxy_tlvs(value_of<api::SendProxyTlv>(tlv));
  }
}

void write(const PoolWords& words, api::Pool& pool) {
  if (words.balance) pool.set_balance(value_of<api::Balance>(*words.balance));
  if (words.hash_prefix_v4) pool.set_hash_prefix_v4(*words.hash_prefix_v4);
  if (words.hash_prefix_v6) pool.set_hash_prefix_v6(*words.hash_prefix_v6);
  if (words.retries) pool.set_retries(*words.retries);
  if (words.dial_budget) *pool.mutable_dial_budget() = to_api(*words.dial_budget);
  if (words.slow_start) *pool.mutable_slow_start() = to_api(*words.slow_start);
  if (words.all_down) pool.set_all_down(value_of<api::AllDown>(*words.all_down));
  if (words.on_down) pool.set_on_down(value_of<api::OnDown>(*words.on_down));
  write_send_proxy(words, pool);
  write_check(words, *pool.mutable_check());
}

bool is_available(const api::BackendStatus& backend) {
  return backend.state() == api::BACKEND_STATE_READY && !is_out_of_reach(backend);
}

// A line for each pool.
void print_table(const api::ListPoolsResponse& all) {
  std::vector<std::vector<std::string>> rows = {
      {"POOL", "BALANCE", "CHECK", "BACKENDS", "AVAILABLE", "ACTIVE"}};
  for (const api::PoolStatus& one : all.pools()) {
    std::uint64_t active = 0;
    for (const api::BackendStatus& backend : one.backends()) active += backend.active_connections();
    rows.push_back({one.pool().name(), word_of(one.pool().balance()),
                    word_of(one.pool().check().kind()), fmt::to_string(one.backends_size()),
                    fmt::to_string(std::ranges::count_if(one.backends(), is_available)),
                    fmt::to_string(active)});
  }
  fmt::print("{}", format_table(rows, {3, 4, 5}));
}

// All settings of one pool, by their names in the configuration.
void print_settings(const api::Pool& pool) {
  const auto time = [](const google::protobuf::Duration& duration) {
    return format_duration(to_milliseconds(duration));
  };
  fmt::print("pool {}\n", pool.name());
  fmt::print("balance: {}\n", word_of(pool.balance()));
  if (pool.balance() == api::BALANCE_HASH_SOURCE) {
    fmt::print("hash_prefix_v4: {}\nhash_prefix_v6: {}\n", pool.hash_prefix_v4(),
               pool.hash_prefix_v6());
  }
  fmt::print("retries: {}\ndial_budget: {}\nslow_start: {}\n", pool.retries(),
             time(pool.dial_budget()), time(pool.slow_start()));
  fmt::print("all_down: {}\non_down: {}\n", word_of(pool.all_down()), word_of(pool.on_down()));
  if (pool.send_proxy() != api::SEND_PROXY_NONE && pool.send_proxy() != 0) {
    fmt::print("send_proxy: {}\n", word_of(pool.send_proxy()));
  }
  if (pool.send_proxy_tlvs_size() > 0) {
    std::string tlvs;
    for (const int tlv : pool.send_proxy_tlvs()) {
      tlvs += " " + word_of(static_cast<api::SendProxyTlv>(tlv));
    }
    fmt::print("send_proxy_tlvs:{}\n", tlvs);
  }
  const api::Check& check = pool.check();
  fmt::print("check: {}", word_of(check.kind()));
  if (!check.name().empty()) fmt::print(" name={}", check.name());
  if (check.kind() != api::CHECK_KIND_NONE) {
    fmt::print(" interval={} fast_interval={} timeout={} rise={} fall={}", time(check.interval()),
               time(check.fast_interval()), time(check.timeout()), check.rise(), check.fall());
  }
  fmt::print("\n");
  for (const api::Backend& backend : pool.backends()) {
    fmt::print("backend {} weight={} state={}{}", backend.address(), backend.weight(),
               word_of(backend.state()), backend.backup() ? " backup" : "");
    if (backend.max_connections() > 0) fmt::print(" max_connections={}", backend.max_connections());
    fmt::print("\n");
  }
}

int list_pools(const ClientOptions& options, const std::string& name) {
  if (!all_ascii({name})) return kFailed;
  auto client = Client::connect(options);
  if (!client.has_value()) return client.error();
  const auto all = fetch_pools(*client, name);
  if (!all.has_value()) return all.error();
  if (options.json) {
    print_json(*all);
    return kDone;
  }
  fmt::print("# revision {}\n", all->revision());
  if (name.empty()) {
    print_table(*all);
  } else {
    for (const api::PoolStatus& one : all->pools()) print_settings(one.pool());
  }
  return kDone;
}

int add_pool(const ClientOptions& options, const AddWords& words) {
  api::Change change;
  api::Pool& pool = *(words.replace ? change.mutable_put_pool() : change.mutable_add_pool());
  pool = words.pool;
  write(words.settings, pool);
  if (!all_ascii({pool.name(), pool.check().name()})) return kFailed;
  for (const std::string& address : words.addresses) {
    if (!all_ascii({address})) return kFailed;
    pool.add_backends()->set_address(address);
  }
  auto client = Client::connect(options);
  if (!client.has_value()) return client.error();
  const auto response = apply_change(*client, change, words.change);
  if (!response.has_value()) return response.error();
  print_change(*response, options, words.change, "pool " + pool.name(),
               ", " + format_items(words.addresses.size(), "backend"));
  return kDone;
}

int set_pool(const ClientOptions& options, const SetWords& words) {
  if (!all_ascii({words.name, words.settings.check_name.value_or("")})) return kFailed;
  if (words.settings == PoolWords()) {
    complain(
        "mc-proxy: what is to be set? Give a setting, such as --balance; see `mc-proxy pools "
        "set --help`");
    return kUsage;
  }
  auto client = Client::connect(options);
  if (!client.has_value()) return client.error();
  const auto edit = [&words](const api::Pool& pool, api::Change& change) {
    *change.mutable_put_pool() = pool;
    write(words.settings, *change.mutable_put_pool());
    return true;
  };
  const auto response = edit_pool(*client, words.name, edit, words.change);
  if (!response.has_value()) return response.error();
  print_change(*response, options, words.change, "pool " + words.name);
  return kDone;
}

int remove_pool(const ClientOptions& options, const SetWords& words) {
  if (!all_ascii({words.name})) return kFailed;
  auto client = Client::connect(options);
  if (!client.has_value()) return client.error();
  api::Change change;
  change.mutable_remove_pool()->set_name(words.name);
  const auto response = apply_change(*client, change, words.change);
  if (!response.has_value()) return response.error();
  print_change(*response, options, words.change, "pool " + words.name);
  return kDone;
}

// ---- the words

void with_word(CLI::App& command, const char* option, std::optional<std::string>& into,
               const std::vector<std::string>& words, const char* help) {
  command.add_option(option, into, help)->check(CLI::IsMember(words));
}

void with_number(CLI::App& command, const char* option, std::optional<std::uint32_t>& into,
                 std::int64_t min, std::int64_t max, const char* help) {
  command.add_option(option, into, help)
      ->check(CLI::Range(static_cast<std::uint32_t>(min), static_cast<std::uint32_t>(max)));
}

void with_time(CLI::App& command, const char* option,
               std::optional<std::chrono::milliseconds>& into, const char* help) {
  command
      .add_option_function<std::string>(
          option,
          [&into, option](const std::string& text) {
            const auto time = parse_duration(text);
            if (!time.has_value()) throw CLI::ValidationError(option, time.error().message);
            into = *time;
          },
          help)
      ->type_name("TIME");
}

void with_check(CLI::App& command, PoolWords& words) {
  with_word(command, "--check", words.check, words_of<api::CheckKind>(),
            "How backends are checked; none if never given");
  command.add_option("--check-name", words.check_name, "The name that a TLS check asks for");
  with_time(command, "--check-interval", words.check_interval, "Between checks, such as 5s");
  with_time(command, "--check-fast-interval", words.check_fast_interval,
            "Between checks of a backend whose state is about to change, such as 1s");
  with_time(command, "--check-timeout", words.check_timeout, "For one check, such as 2s");
  with_number(command, "--check-rise", words.check_rise, 1, policy::kRiseFallMax,
              "Passed checks in a row that take a backend up");
  with_number(command, "--check-fall", words.check_fall, 1, policy::kRiseFallMax,
              "Failed checks in a row that take a backend down");
}

void with_settings(CLI::App& command, PoolWords& words) {
  with_word(command, "--balance", words.balance, words_of<api::Balance>(),
            "How a backend is chosen for a connection");
  with_number(command, "--retries", words.retries, 0, policy::kRetriesMax,
              "Further backends that are tried when one cannot be reached");
  with_time(command, "--dial-budget", words.dial_budget,
            "For all tries of a connection together, such as 8s");
  with_time(command, "--slow-start", words.slow_start,
            "How long a backend that returns takes to get its full share; 0: at once");
  with_number(command, "--hash-prefix-v4", words.hash_prefix_v4, 1, 32,
              "The bits of a client's IPv4 address that hash_source takes");
  with_number(command, "--hash-prefix-v6", words.hash_prefix_v6, 1, 128,
              "The bits of a client's IPv6 address that hash_source takes");
  with_word(command, "--all-down", words.all_down, words_of<api::AllDown>(),
            "What becomes of a connection while no backend is alive");
  with_word(command, "--on-down", words.on_down, words_of<api::OnDown>(),
            "What becomes of a backend's connections when its check takes it down");
  with_word(command, "--send-proxy", words.send_proxy, words_of<api::SendProxy>(),
            "The PROXY header that names the client to backends");
  command
      .add_option("--send-proxy-tlv", words.send_proxy_tlvs,
                  "What a header v2 says besides; may be given several times")
      ->check(CLI::IsMember(words_of<api::SendProxyTlv>()))
      ->allow_extra_args(false);
  with_check(command, words);
}

void add_add(CommandLine& line, CLI::App& pools) {
  const auto words = std::make_shared<AddWords>();
  CLI::App& add =
      line.with_server(line.add(pools, "add", "Add a pool", [words](const ClientOptions& options) {
        return add_pool(options, *words);
      }));
  add.add_option_function<std::string>(
         "name", [words](const std::string& name) { words->pool.set_name(name); },
         "Of the pool, such as app")
      ->required();
  add.add_option("address", words->addresses,
                 "Backends: ip:port, [ipv6]:port, name:port or unix:/path")
      ->required();
  with_settings(add, words->settings);
  add.add_flag("--replace", words->replace,
               "If there is a pool of that name, replace it, backends included");
  with_conditions(add, words->change);
}

void add_set_remove(CommandLine& line, CLI::App& pools) {
  const auto words = std::make_shared<SetWords>();
  CLI::App& set = line.with_server(
      line.add(pools, "set", "Change settings of a pool",
               [words](const ClientOptions& options) { return set_pool(options, *words); }));
  set.add_option("name", words->name, "As in `pools list`")->required();
  with_settings(set, words->settings);
  with_conditions(set, words->change);

  CLI::App& remove = line.with_server(
      line.add(pools, "remove", "Remove a pool that no route leads to",
               [words](const ClientOptions& options) { return remove_pool(options, *words); }));
  remove.add_option("name", words->name, "As in `pools list`")->required();
  with_conditions(remove, words->change);
}

}  // namespace

void add_pools(CommandLine& line) {
  CLI::App& pools = line.add_group("pools", "Show and change pools of backends");
  const auto name = std::make_shared<std::string>();
  line.with_server(
          line.add(pools, "list", "Show the pools, or the settings of one",
                   [name](const ClientOptions& options) { return list_pools(options, *name); }))
      .add_option("name", *name, "Only this pool");
  add_add(line, pools);
  add_set_remove(line, pools);
}

}  // namespace mc::cli
