// SPDX-License-Identifier: Apache-2.0
#include "store/pool_records.hpp"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>

#include "base/quote.hpp"
#include "store/schema.hpp"
#include "store/trouble.hpp"

namespace mc::store {
namespace {

using std::chrono::milliseconds;

// Reads the columns of a row in order. Remembers the first word that is unknown.
class Columns {
 public:
  Columns(const Statement& row, std::optional<std::string>& unknown)
      : row_(row), unknown_(unknown) {}

  std::string text() { return std::string(row_.text(next_++)); }
  std::int64_t integer() { return row_.integer(next_++); }
  milliseconds duration() { return milliseconds(integer()); }
  /// The value of the word in the column `name`.
  template <class T, std::size_t n>
  T word(std::string_view name, const std::array<policy::Words<T>, n>& words) {
    const std::string_view text = row_.text(next_++);
    if (const auto meant = policy::meant_by(text, words)) return *meant;
    note(name, text, words, [](const auto& entry) { return entry.first; });
    return words.front().second;
  }
  /// Several words in the column `name`.
  policy::ProxyTlvs tlvs(std::string_view name) {
    const std::string_view text = row_.text(next_++);
    const auto tlvs = policy::parse_proxy_tlvs(text);
    if (!tlvs) note(name, text, policy::kProxyTlvs, [](const auto& tlv) { return tlv.word; });
    return tlvs.value_or(policy::ProxyTlvs());
  }

 private:
  void note(std::string_view name, std::string_view text, const auto& all, auto word_of) {
    if (unknown_) return;
    std::string known;
    for (const auto& one : all) known += (known.empty() ? "" : ", ") + std::string(word_of(one));
    unknown_ = fmt::format("{} is {}, and none of {}", name, quote(text), known);
  }

  const Statement& row_;
  std::optional<std::string>& unknown_;
  int next_ = 0;
};

// `send_proxy`: its columns, or what they are in a database that has none.
std::string select_pools(std::string_view send_proxy) {
  return fmt::format(
      "SELECT name, balance, hash_prefix_v4, hash_prefix_v6, retries, dial_budget_ms, "
      "slow_start_ms, all_down, on_down, {}, check_kind, check_name, check_interval_ms, "
      "check_fast_interval_ms, check_timeout_ms, check_rise, check_fall FROM pools ORDER BY name",
      send_proxy);
}

PoolRecord read_pool(const Statement& row, std::optional<std::string>& unknown) {
  Columns columns(row, unknown);
  PoolRecord pool;
  pool.name = columns.text();
  policy::PoolSettings& settings = pool.settings;
  settings.balance = columns.word("balance", policy::kBalanceWords);
  settings.hash_prefix_v4 = columns.integer();
  settings.hash_prefix_v6 = columns.integer();
  settings.retries = columns.integer();
  settings.dial_budget = columns.duration();
  settings.slow_start = columns.duration();
  settings.all_down = columns.word("all_down", policy::kAllDownWords);
  settings.on_down = columns.word("on_down", policy::kOnDownWords);
  settings.send_proxy = columns.word("send_proxy", policy::kSendProxyWords);
  settings.send_proxy_tlvs = columns.tlvs("send_proxy_tlvs");
  policy::Check& check = settings.check;
  check.kind = columns.word("check_kind", policy::kCheckKindWords);
  check.name = columns.text();
  check.interval = columns.duration();
  check.fast_interval = columns.duration();
  check.timeout = columns.duration();
  check.rise = columns.integer();
  check.fall = columns.integer();
  return pool;
}

policy::BackendText read_backend(const Statement& row, std::optional<std::string>& unknown) {
  Columns columns(row, unknown);
  policy::BackendText backend;
  backend.address = columns.text();
  backend.weight = columns.integer();
  backend.backup = columns.integer() != 0;
  backend.max_connections = columns.integer();
  backend.state = columns.word("state", policy::kAdminStateWords);
  return backend;
}

std::unexpected<Error> fail_with_word(const std::string& path, const std::string& pool,
                                      const std::string& what) {
  return fail(fmt::format(
      "database {}: the pool {}: {}; somebody edited the database: correct the record with "
      "sqlite3, or restore a backup",
      quote(path), quote(pool), what));
}

}  // namespace

Result<std::vector<PoolRecord>> read_pools(const std::string& path, Connection& connection) {
  std::vector<PoolRecord> pools;
  if (!has_version(connection, kVersionWithPools)) return pools;
  std::optional<std::string> unknown;
  std::string unknown_in;
  const auto note = [&](const std::string& pool) {
    if (unknown && unknown_in.empty()) unknown_in = pool;
  };
  const bool has_send_proxy = has_version(connection, kVersionWithMatches);
  auto select = connection.prepare(
      select_pools(has_send_proxy ? "send_proxy, send_proxy_tlvs" : "'none', ''"));
  if (!select) return fail_with_sqlite(path, select.error());
  const auto pools_read = select->run_each(
      [&](const Statement& row) { note(pools.emplace_back(read_pool(row, unknown)).name); });
  if (!pools_read) return fail_with_sqlite(path, pools_read.error());

  auto backends = connection.prepare(
      "SELECT address, weight, backup, max_connections, state FROM backends WHERE pool = ?1 "
      "ORDER BY place, address");
  if (!backends) return fail_with_sqlite(path, backends.error());
  for (PoolRecord& pool : pools) {
    const auto read = backends->run_each(
        [&](const Statement& row) {
          policy::BackendText& backend = pool.backends.emplace_back(read_backend(row, unknown));
          if (unknown && unknown_in.empty()) *unknown += " (backend " + backend.address + ")";
          note(pool.name);
        },
        pool.name);
    if (!read) return fail_with_sqlite(path, read.error());
  }
  if (unknown) return fail_with_word(path, unknown_in, *unknown);
  return pools;
}

SqliteResult<PoolStatements> PoolStatements::prepare(Connection& connection) {
  PoolStatements all;
  const std::pair<Statement*, std::string_view> each[] = {
      {&all.remove_, "DELETE FROM pools WHERE name = ?1"},
      {&all.remove_backends_, "DELETE FROM backends WHERE pool = ?1"},
      {&all.add_,
       "INSERT INTO pools (name, balance, hash_prefix_v4, hash_prefix_v6, retries, dial_budget_ms, "
       "slow_start_ms, all_down, on_down, send_proxy, send_proxy_tlvs, check_kind, check_name, "
       "check_interval_ms, check_fast_interval_ms, check_timeout_ms, check_rise, check_fall) "
       "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)"},
      {&all.add_backend_,
       "INSERT INTO backends (pool, place, address, weight, backup, max_connections, state) "
       "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"},
  };
  for (const auto& [statement, sql] : each) {
    auto prepared = connection.prepare(sql);
    if (!prepared) return std::unexpected(prepared.error());
    *statement = *std::move(prepared);
  }
  return all;
}

// The sqlite3 program has foreign keys off: a pool that somebody deleted with it has left its
// backends behind, which would be in the way of a new one of that name.
SqliteResult<void> PoolStatements::remove(const std::string& name) {
  if (auto removed = remove_backends_.run(name); !removed) return removed;
  return remove_.run(name);
}

SqliteResult<void> PoolStatements::put(const PoolRecord& pool) {
  if (auto removed = remove(pool.name); !removed) return removed;
  const policy::PoolSettings& settings = pool.settings;
  const policy::Check& check = settings.check;
  auto done =
      add_.run(pool.name, word_of(settings.balance, policy::kBalanceWords), settings.hash_prefix_v4,
               settings.hash_prefix_v6, settings.retries, settings.dial_budget.count(),
               settings.slow_start.count(), word_of(settings.all_down, policy::kAllDownWords),
               word_of(settings.on_down, policy::kOnDownWords),
               word_of(settings.send_proxy, policy::kSendProxyWords),
               policy::to_string(settings.send_proxy_tlvs),
               word_of(check.kind, policy::kCheckKindWords), check.name, check.interval.count(),
               check.fast_interval.count(), check.timeout.count(), check.rise, check.fall);
  std::int64_t place = 0;
  for (const policy::BackendText& backend : pool.backends) {
    if (!done) return done;
    done = add_backend_.run(pool.name, place++, backend.address, backend.weight,
                            std::int64_t{backend.backup ? 1 : 0}, backend.max_connections,
                            word_of(backend.state, policy::kAdminStateWords));
  }
  return done;
}

}  // namespace mc::store
