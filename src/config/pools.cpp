// SPDX-License-Identifier: Apache-2.0
#include "config/pools.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/duration.hpp"
#include "base/quote.hpp"
#include "policy/limits.hpp"

namespace mc::config {
namespace {

constexpr std::string_view kPoolKeys[] = {
    "name",     "balance", "hash_prefix", "retries",         "dial_budget", "slow_start",
    "all_down", "on_down", "send_proxy",  "send_proxy_tlvs", "check",       "backends"};
constexpr std::string_view kHashPrefixKeys[] = {"v4", "v6"};
constexpr std::string_view kCheckKeys[] = {"kind",    "name", "interval", "fast_interval",
                                           "timeout", "rise", "fall"};
constexpr std::string_view kBackendKeys[] = {"address", "weight", "backup", "max_connections",
                                             "state"};

/// Reads the values of a table and remembers where they are. Their ranges are not checked here.
class Values {
 public:
  /// `prefix` makes a field of a key: "check.".
  Values(const Section& section, std::string prefix, PoolInFile& read, Problems& problems)
      : section_(section), prefix_(std::move(prefix)), read_(read), problems_(problems) {}

  void text(std::string_view key, std::string_view example, std::string& target) {
    take(key, section_.get(key, TomlType::kString, example), target);
  }
  void required_text(std::string_view key, std::string_view example, std::string& target) {
    take(key, section_.require(key, TomlType::kString, example), target);
  }
  void integer(std::string_view key, std::int64_t& target) {
    const auto found = section_.get(key, TomlType::kInteger, fmt::format("{}", target));
    if (!found) return;
    target = found->value->integer;
    remember(key, *found);
  }
  void duration(std::string_view key, std::chrono::milliseconds& target) {
    const auto found = section_.get(key, TomlType::kString, quote(format_duration(target)));
    if (!found) return;
    const auto value = parse_duration(found->value->text);
    if (!value) {
      problems_.add(*found->value, found->path, value.error());
      return;
    }
    target = *value;
    remember(key, *found);
  }

 private:
  void take(std::string_view key, const std::optional<Node>& found, std::string& target) {
    if (!found) return;
    target = found->value->text;
    remember(key, *found);
  }
  void remember(std::string_view key, const Node& place) {
    read_.places.emplace(prefix_ + std::string(key), place);
  }

  const Section& section_;
  const std::string prefix_;
  PoolInFile& read_;
  Problems& problems_;
};

void read_balance(const Section& pool, PoolInFile& read, Problems& problems) {
  policy::Balance& balance = read.text.settings.balance;
  const std::size_t problems_before = problems.size();
  pool.read_choice("balance", policy::kBalanceWords, balance);
  const bool is_known = problems.size() == problems_before;
  const auto table = pool.table("hash_prefix");
  if (!table) return;
  if (is_known && balance != policy::Balance::kHashSource) {
    problems.add(table->value->position, table->path,
                 fmt::format("{} has no effect with balance = \"{}\"; write balance = "
                             "\"hash_source\", or leave out hash_prefix",
                             table->path, word_of(balance, policy::kBalanceWords)));
  }
  const Section section(*table->value, table->path, kHashPrefixKeys, problems);
  Values values(section, "hash_prefix.", read, problems);
  values.integer("v4", read.text.settings.hash_prefix_v4);
  values.integer("v6", read.text.settings.hash_prefix_v6);
}

void read_send_proxy(const Section& pool, PoolInFile& read, Problems& problems) {
  policy::PoolSettings& settings = read.text.settings;
  pool.read_choice("send_proxy", policy::kSendProxyWords, settings.send_proxy);
  for (const Node& place : pool.strings("send_proxy_tlvs", "\"authority\"")) {
    read.places.emplace("send_proxy_tlvs", place);
    const std::string& word = place.value->text;
    const auto* const tlv = std::ranges::find(policy::kProxyTlvs, word, &policy::ProxyTlv::word);
    if (tlv != policy::kProxyTlvs.end()) {
      settings.send_proxy_tlvs.*tlv->is_sent = true;
      continue;
    }
    problems.add(*place.value, place.path,
                 Error{fmt::format("{}: no such TLV; write \"authority\", \"unique_id\" or "
                                   "\"crc32c\"",
                                   quote(word))});
  }
}

void read_check(const Section& pool, PoolInFile& read, Problems& problems) {
  const auto table = pool.table("check");
  if (!table) return;
  read.places.emplace("check", *table);
  const Section section(*table->value, table->path, kCheckKeys, problems);
  policy::Check& check = read.text.settings.check;
  if (section.has("kind")) {
    section.read_choice("kind", policy::kCheckKindWords, check.kind);
  } else {
    problems.add(section.position(), section.path_of("kind"),
                 fmt::format("{} is required; write kind = \"tls\", \"tcp\" or \"none\"",
                             section.path_of("kind")));
  }
  Values values(section, "check.", read, problems);
  values.text("name", "\"app.example.com\"", check.name);
  values.duration("interval", check.interval);
  values.duration("fast_interval", check.fast_interval);
  values.duration("timeout", check.timeout);
  values.integer("rise", check.rise);
  values.integer("fall", check.fall);
}

void read_backend(const Node& table, PoolInFile& read, Problems& problems) {
  const Section section(*table.value, table.path, kBackendKeys, problems);
  Values values(section, fmt::format("backends[{}].", read.text.backends.size()), read, problems);
  policy::BackendText backend;
  values.required_text("address", "\"10.0.0.1:443\"", backend.address);
  values.integer("weight", backend.weight);
  section.read_boolean("backup", backend.backup);
  values.integer("max_connections", backend.max_connections);
  section.read_choice("state", policy::kAdminStateWords, backend.state);
  read.text.backends.push_back(std::move(backend));
}

PoolInFile read_pool(const Node& table, Problems& problems) {
  PoolInFile read{.table = table, .text = {}, .places = {}};
  const Section section(*table.value, table.path, kPoolKeys, problems);
  Values values(section, "", read, problems);
  values.required_text("name", "\"app\"", read.text.name);
  policy::PoolSettings& settings = read.text.settings;
  read_balance(section, read, problems);
  values.integer("retries", settings.retries);
  values.duration("dial_budget", settings.dial_budget);
  values.duration("slow_start", settings.slow_start);
  section.read_choice("all_down", policy::kAllDownWords, settings.all_down);
  section.read_choice("on_down", policy::kOnDownWords, settings.on_down);
  read_send_proxy(section, read, problems);
  read_check(section, read, problems);
  for (const Node& backend : section.tables("backends")) read_backend(backend, read, problems);
  return read;
}

// The field's name in the file, of its name in a PoolError.
std::string_view key_of(std::string_view field) {
  if (field == "hash_prefix_v4") return "hash_prefix.v4";
  if (field == "hash_prefix_v6") return "hash_prefix.v6";
  return field;
}

// There are none, or too many.
void add_problem_of_backends(const PoolInFile& read, const policy::PoolError& error,
                             Problems& problems) {
  const std::string path = read.table.path + ".backends";
  std::string message = error.message;
  if (read.text.backends.empty()) {
    const auto& entries = read.table.value->entries;
    const auto entry = std::ranges::find(entries, "backends", &TomlEntry::key);
    // What is there is of a wrong type, which is reported already.
    if (entry != entries.end() &&
        (entry->value.type != TomlType::kArray || !entry->value.elements.empty())) {
      return;
    }
    message =
        "at least one is required; write [[pools.backends]] and under it address = "
        "\"10.0.0.1:443\"";
  }
  problems.add(read.table.value->position, path, fmt::format("{}: {}", path, message));
}

void add_problem(const PoolInFile& read, const policy::PoolError& error, Problems& problems) {
  const std::string_view key = key_of(error.field);
  const Node* const place =
      error.backend.has_value() ? read.find(*error.backend, key) : read.find(key);
  if (place != nullptr) {
    problems.add(*place->value, place->path, Error{error.message});  // it shows the value
  } else if (key == "backends") {
    add_problem_of_backends(read, error, problems);
  }
  // Else a required key is missing, which is reported already.
}

// Whether there is a name, or none is needed.
bool provide_check_name(const PoolInFile& read, const std::set<std::string>& hostnames,
                        policy::Check& check, Problems& problems) {
  if (check.kind != policy::CheckKind::kTls || read.find("check.name") != nullptr) return true;
  if (hostnames.size() == 1) {
    check.name = *hostnames.begin();
    return true;
  }
  const Node& table = *read.find("check");  // there is one, because the kind is not the default
  const std::string path = table.path + ".name";
  const std::string_view why = hostnames.empty()
                                   ? "no route with an exact host name leads to the pool"
                                   : "routes with several host names lead to the pool";
  problems.add(
      table.value->position, path,
      fmt::format("{} is required: a TLS check sends a name, and {}; write name = {} under "
                  "[pools.check]",
                  path, why,
                  hostnames.empty() ? "\"app.example.com\"" : quote(*hostnames.begin())));
  return false;
}

}  // namespace

const Node* PoolInFile::find(std::string_view field) const {
  const auto found = places.find(field);
  return found != places.end() ? &found->second : nullptr;
}

const Node* PoolInFile::find(std::size_t backend, std::string_view field) const {
  return find(fmt::format("backends[{}].{}", backend, field));
}

std::vector<PoolInFile> read_pools(const Section& root, Problems& problems) {
  std::vector<PoolInFile> pools;
  const std::vector<Node> tables = root.tables("pools");
  if (tables.size() > policy::kPoolsMax) {
    problems.add(tables[policy::kPoolsMax].value->position, "pools",
                 fmt::format("pools: there are {}, but at most {} are possible", tables.size(),
                             policy::kPoolsMax));
    return pools;
  }
  std::map<std::string, Position> seen;
  for (const Node& table : tables) {
    const PoolInFile& pool = pools.emplace_back(read_pool(table, problems));
    const Node* const name = pool.find("name");
    if (name == nullptr) continue;
    const auto [first, is_new] = seen.try_emplace(pool.text.name, name->value->position);
    if (is_new) continue;
    problems.add(*name->value, name->path,
                 fmt::format("the same name as on line {}; write another", first->second.line));
  }
  return pools;
}

std::optional<policy::Pool> finish_pool(const PoolInFile& read,
                                        const std::set<std::string>& hostnames,
                                        Problems& problems) {
  policy::PoolText text = read.text;
  if (!provide_check_name(read, hostnames, text.settings.check, problems)) {
    text.settings.check.kind = policy::CheckKind::kNone;  // so that it is reported once
  }
  auto pool = policy::parse_pool(text);
  if (pool.has_value()) return *std::move(pool);
  for (const policy::PoolError& error : pool.error()) add_problem(read, error, problems);
  return std::nullopt;
}

}  // namespace mc::config
