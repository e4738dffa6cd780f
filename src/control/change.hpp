// SPDX-License-Identifier: Apache-2.0
#pragma once
// What can be asked of the control plane, as texts that nobody has validated yet, and how it
// refuses. Whoever asks (the admin API, the seed) translates its own words to these. Values; any
// thread.

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

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
/// Adds, or changes the route that is there.
struct PutRoute {
  std::string listener;
  policy::RouteText route;
};
struct RemoveRoute {
  std::string listener;
  std::string hostname;
};
struct AddRule {
  RuleText rule;
};
/// Adds, or is content that it is there.
struct PutRule {
  RuleText rule;
};
struct RemoveRule {
  RuleText rule;
};

/// monostate: none was given, which is refused.
using Change =
    std::variant<std::monostate, AddRoute, PutRoute, RemoveRoute, AddRule, PutRule, RemoveRule>;

/// The field of a request that a violation is about, under the name that it has in the API.
struct Field {
  enum class Of : std::uint8_t { kRequest, kRoute, kRule, kFilter };
  Of of = Of::kRequest;
  std::string_view name = "change";
};
inline constexpr Field kListenerField{.of = Field::Of::kRequest, .name = "listener_addr"};
inline constexpr Field kHostnameField{.of = Field::Of::kRoute, .name = "hostname"};
inline constexpr Field kBackendField{.of = Field::Of::kRoute, .name = "backend"};
inline constexpr Field kRuleTypeField{.of = Field::Of::kRule, .name = "type"};
inline constexpr Field kRuleValueField{.of = Field::Of::kRule, .name = "value"};

struct Violation {
  std::size_t index = 0;  // of the change, or of the route in a replacement
  Field field;
  std::string description;
};

enum class RefusalKind : std::uint8_t {
  kInvalid,             // the request cannot be right; `violations` say why
  kNotFound,            // what it names is not there
  kAlreadyExists,       // what it adds is there
  kFailedPrecondition,  // something else must be done first
  kStale,               // if_revision is not the current one
  kTooMany,             // beyond a limit, which the message names
  kStopping,            // no more changes are taken
  kStoreFull,           // the database has no room on its disk
  kStoreReadOnly,       // nothing could be written since the start
  kStoreLocked,         // another program has the database locked, for the moment
  kStoreReplaced,       // another program has replaced or changed the database
  kStoreFailed,         // the database refused for another reason
};

struct Refusal {
  RefusalKind kind;
  std::string message;                // empty where there are violations
  std::vector<Violation> violations;  // at most kViolationsMax
  std::size_t violations_more = 0;    // that are not listed
  std::optional<std::size_t> index;   // of the change that it is about, in a batch
};

template <class T>
using Outcome = std::expected<T, Refusal>;

[[nodiscard]] inline std::unexpected<Refusal> refuse(
    RefusalKind kind, std::string message, std::optional<std::size_t> index = std::nullopt) {
  return std::unexpected(Refusal{kind, std::move(message), {}, 0, index});
}

}  // namespace mc::control
