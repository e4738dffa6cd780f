// SPDX-License-Identifier: Apache-2.0
#pragma once
// One pool: the backends that a name's connections are spread over, and how, as a value that an
// operator specifies. The configuration, the admin API, the database and the command line have the
// same fields with the same names; only this file validates them. Pure; any thread.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "net/backend_address.hpp"

namespace mc::policy {

/// How a pool chooses a backend for a connection; see choose.hpp.
enum class Balance : std::uint8_t {
  kRandomTwo,         // of two drawn by weight, the one with fewer connections for its weight
  kRoundRobin,        // in turn, by weight
  kLeastConnections,  // the one with the fewest connections for its weight
  kHashSource,        // by the client's address: the same client, the same backend
  kHashName,          // by the name that the client asked for
};

/// What an operator wants of a backend. Kept in the database.
enum class AdminState : std::uint8_t {
  kReady,
  kDrain,        // gets no new connections; is still checked
  kMaintenance,  // gets no new connections; is not checked
};

/// What becomes of a connection where no backend is alive.
enum class AllDown : std::uint8_t {
  kTry,     // backends that are thought dead are tried: to connect is itself the test
  kRefuse,  // it is reset at once
};

/// What becomes of a backend's open connections when its check takes it down.
enum class OnDown : std::uint8_t {
  kKeep,
  kReset,  // they are reset, unless every backend of the pool is down
};

enum class CheckKind : std::uint8_t {
  kNone,
  kTcp,  // connects
  kTls,  // connects, sends a ClientHello, and waits for the reply
};

/// Whether a backend learns who the client is, from a PROXY header before the client's bytes.
enum class SendProxy : std::uint8_t { kNone, kV1, kV2 };

/// Each value of an enumeration with its word, which is the same everywhere.
template <class T>
using Words = std::pair<std::string_view, T>;
inline constexpr auto kBalanceWords = std::to_array<Words<Balance>>({
    {"random_two", Balance::kRandomTwo},
    {"round_robin", Balance::kRoundRobin},
    {"least_connections", Balance::kLeastConnections},
    {"hash_source", Balance::kHashSource},
    {"hash_name", Balance::kHashName},
});
inline constexpr auto kAdminStateWords = std::to_array<Words<AdminState>>({
    {"ready", AdminState::kReady},
    {"drain", AdminState::kDrain},
    {"maintenance", AdminState::kMaintenance},
});
inline constexpr auto kAllDownWords = std::to_array<Words<AllDown>>({
    {"try", AllDown::kTry},
    {"refuse", AllDown::kRefuse},
});
inline constexpr auto kOnDownWords = std::to_array<Words<OnDown>>({
    {"keep", OnDown::kKeep},
    {"reset", OnDown::kReset},
});
inline constexpr auto kCheckKindWords = std::to_array<Words<CheckKind>>({
    {"none", CheckKind::kNone},
    {"tcp", CheckKind::kTcp},
    {"tls", CheckKind::kTls},
});
inline constexpr auto kSendProxyWords = std::to_array<Words<SendProxy>>({
    {"none", SendProxy::kNone},
    {"v1", SendProxy::kV1},
    {"v2", SendProxy::kV2},
});

template <class T, std::size_t n>
constexpr std::string_view word_of(T value, const std::array<Words<T>, n>& words) {
  for (const auto& [word, meant] : words) {
    if (meant == value) return word;
  }
  return {};
}
template <class T, std::size_t n>
constexpr std::optional<T> meant_by(std::string_view text, const std::array<Words<T>, n>& words) {
  for (const auto& [word, meant] : words) {
    if (word == text) return meant;
  }
  return std::nullopt;
}

/// How the backends of a pool are checked. See health/ for what a check does.
struct Check {
  CheckKind kind = CheckKind::kNone;
  /// The name in the hello of a TLS check; required for it.
  std::string name;
  std::chrono::milliseconds interval{5'000};
  /// Between the checks of a backend whose state is about to change.
  std::chrono::milliseconds fast_interval{1'000};
  std::chrono::milliseconds timeout{2'000};
  /// Passed checks in a row that take a backend up, and failed ones that take it down.
  std::int64_t rise = 2;
  std::int64_t fall = 3;

  bool operator==(const Check&) const = default;
};

/// What a PROXY header of version 2 says besides the addresses.
struct ProxyTlvs {
  bool authority = false;  // the name that the client asked for
  bool unique_id = false;  // of the connection
  bool crc32c = false;     // a checksum of the header

  bool operator==(const ProxyTlvs&) const = default;
};

/// Each of them with its word, which is the same everywhere.
struct ProxyTlv {
  std::string_view word;
  bool ProxyTlvs::* is_sent;
};
inline constexpr auto kProxyTlvs = std::to_array<ProxyTlv>({
    {"authority", &ProxyTlvs::authority},
    {"unique_id", &ProxyTlvs::unique_id},
    {"crc32c", &ProxyTlvs::crc32c},
});
/// "authority crc32c": the words of those that are sent.
std::string to_string(const ProxyTlvs& tlvs);
/// Reads what to_string() writes; nothing if a word is none of kProxyTlvs.
std::optional<ProxyTlvs> parse_proxy_tlvs(std::string_view text);

struct Backend {
  /// An IP address and port, a Unix socket, or a name and port that DNS resolves.
  BackendAddress address;
  /// Its share of connections, 0 to 1000. 0: only those that no other backend can take.
  std::int64_t weight = 100;
  /// Whether it only gets connections when no other backend is eligible.
  bool backup = false;
  /// Open connections of all workers together; 0: no limit.
  std::int64_t max_connections = 0;
  AdminState state = AdminState::kReady;

  bool operator==(const Backend&) const = default;
};

/// The settings of a pool that are not about one backend.
struct PoolSettings {
  Balance balance = Balance::kRandomTwo;
  /// The bits of a client's address that hash_source takes.
  std::int64_t hash_prefix_v4 = 32;
  std::int64_t hash_prefix_v6 = 64;
  /// Further backends that are tried when one cannot be reached.
  std::int64_t retries = 2;
  /// For all tries of a connection together.
  std::chrono::milliseconds dial_budget{8'000};
  /// How long a backend that returns takes to get its full share; 0: at once.
  std::chrono::milliseconds slow_start{0};
  AllDown all_down = AllDown::kTry;
  OnDown on_down = OnDown::kKeep;
  SendProxy send_proxy = SendProxy::kNone;
  ProxyTlvs send_proxy_tlvs;
  Check check;

  bool operator==(const PoolSettings&) const = default;
};

/// A pool as an operator specifies it: valid, and immutable once it is in a policy.
struct Pool {
  std::string name;
  PoolSettings settings;
  /// At least one; no two have the same address.
  std::vector<Backend> backends;

  bool operator==(const Pool&) const = default;
};

/// A pool before its validation: the same, with addresses as text.
struct BackendText {
  std::string address;
  std::int64_t weight = Backend().weight;
  bool backup = false;
  std::int64_t max_connections = 0;
  AdminState state = AdminState::kReady;

  bool operator==(const BackendText&) const = default;
};
struct PoolText {
  std::string name;
  PoolSettings settings;
  std::vector<BackendText> backends;

  bool operator==(const PoolText&) const = default;
};

/// The error in one field.
struct PoolError {
  std::string_view field;              // "retries", "check.interval", "address"
  std::optional<std::size_t> backend;  // the index of the backend whose field it is
  std::string value;                   // that is wrong; empty: the message names it
  std::string message;                 // names the remedy
};

/// "9 is out of range; write 0 to 8".
std::string describe(const PoolError& error);

/// Validates and normalises all fields, or returns the errors of all of them.
std::expected<Pool, std::vector<PoolError>> parse_pool(const PoolText& text);
/// The same for one backend; its errors have no index.
std::expected<Backend, std::vector<PoolError>> parse_pool_backend(const BackendText& text);

/// Writes the form that parse_pool() reads.
PoolText to_text(const Pool& pool);
BackendText to_text(const Backend& backend);

/// A pool's name: 1 to 64 of the letters, digits, "_", "-" and ".", the first a letter or digit.
/// Errors name the text and the correct form.
Result<std::string> parse_pool_name(std::string_view text);

/// A pool's backend: an ip:port or a Unix socket as parse_backend() reads them, or a name and port.
/// Errors likewise.
Result<BackendAddress> parse_pool_address(std::string_view text);

/// The place of the backend with this address; nothing if there is none.
std::optional<std::size_t> find_backend(const Pool& pool, const BackendAddress& address);

}  // namespace mc::policy
