// SPDX-License-Identifier: Apache-2.0
#pragma once
// The requests to the control plane, as texts that are not validated yet, and its refusals. Callers
// (the admin API, the seed) translate their own types to these. Values; any thread.

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "policy/pool.hpp"
#include "policy/route.hpp"

namespace mc::control {

enum class RuleType : std::uint8_t { kUnspecified, kIp, kCidr, kCountry };

struct RuleText {
  RuleType type = RuleType::kUnspecified;
  std::string value;
};

/// A listener is named as configured (":443").
struct AddRoute {
  std::string listener;
  policy::RouteText route;
};
/// Adds the route, or replaces the existing one.
struct PutRoute {
  std::string listener;
  policy::RouteText route;
};
struct RemoveRoute {
  std::string listener;
  std::string hostname;
  policy::RouteMatchText match = {};
};
struct AddRule {
  RuleText rule;
};
/// Adds the rule if it does not exist.
struct PutRule {
  RuleText rule;
};
struct RemoveRule {
  RuleText rule;
};

struct AddPool {
  policy::PoolText pool;
};
/// Adds the pool, or replaces the existing one.
struct PutPool {
  policy::PoolText pool;
};
struct RemovePool {
  std::string name;
};
struct AddBackend {
  std::string pool;
  policy::BackendText backend;
};
/// Adds the backend, or replaces the one with its address.
struct PutBackend {
  std::string pool;
  policy::BackendText backend;
};
struct RemoveBackend {
  std::string pool;
  std::string address;
};
struct SetBackendState {
  std::string pool;
  std::string address;
  policy::AdminState state = policy::AdminState::kReady;
};

/// monostate: the request has no change, and is refused.
using Change = std::variant<std::monostate, AddRoute, PutRoute, RemoveRoute, AddRule, PutRule,
                            RemoveRule, AddPool, PutPool, RemovePool, AddBackend, PutBackend,
                            RemoveBackend, SetBackendState>;

/// The field of a request that is wrong, by its name in the API.
struct Field {
  enum class Of : std::uint8_t { kRequest, kRoute, kRule, kFilter, kPool, kBackend };
  Of of = Of::kRequest;
  std::string_view name = "change";
};
inline constexpr Field kListenerField{.of = Field::Of::kRequest, .name = "listener_addr"};
inline constexpr Field kHostnameField{.of = Field::Of::kRoute, .name = "hostname"};
inline constexpr Field kBackendField{.of = Field::Of::kRoute, .name = "backend"};
inline constexpr Field kPoolField{.of = Field::Of::kRequest, .name = "pool"};
inline constexpr Field kPoolNameField{.of = Field::Of::kRequest, .name = "name"};
inline constexpr Field kAddressField{.of = Field::Of::kRequest, .name = "address"};
inline constexpr Field kRuleTypeField{.of = Field::Of::kRule, .name = "type"};
inline constexpr Field kRuleValueField{.of = Field::Of::kRule, .name = "value"};

struct Violation {
  std::size_t index = 0;  // of the change in a batch, or of the route in a replacement
  Field field;
  std::string description;
  std::optional<std::size_t> backend;  // with Of::kPool: whose field it is, in the pool's list
};

enum class RefusalKind : std::uint8_t {
  kInvalid,             // the request is wrong in any state; see `violations`
  kNotFound,            // what it names does not exist
  kAlreadyExists,       // what it adds exists
  kFailedPrecondition,  // something else must be done first
  kStale,               // if_revision is not the current one
  kTooMany,             // above a limit, which the message names
  kStopping,            // the server takes no more changes
  kStoreFull,           // the database's disk is full
  kStoreReadOnly,       // the database could not be written since the start
  kStoreLocked,         // another program has locked the database, for now
  kStoreReplaced,       // another program has replaced or changed the database
  kStoreFailed,         // the database refused for another reason
};

struct Refusal {
  RefusalKind kind;
  std::string message;                // empty if there are violations
  std::vector<Violation> violations;  // at most kViolationsMax
  std::size_t violations_more = 0;    // the number of further ones
  std::optional<std::size_t> index;   // of the refused change, in a batch
};

template <class T>
using Outcome = std::expected<T, Refusal>;

[[nodiscard]] inline std::unexpected<Refusal> refuse(
    RefusalKind kind, std::string message, std::optional<std::size_t> index = std::nullopt) {
  return std::unexpected(Refusal{kind, std::move(message), {}, 0, index});
}

}  // namespace mc::control
