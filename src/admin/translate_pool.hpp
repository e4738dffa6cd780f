// SPDX-License-Identifier: Apache-2.0
#pragma once
// Translates pools and their backends between the messages of the API (proto/mc_proxy/v1) and the
// types of policy and control. Pure functions; any thread.

#include <mc_proxy/v1/admin.pb.h>

#include <chrono>
#include <optional>
#include <string>

#include "base/clock.hpp"
#include "control/change.hpp"
#include "control/name_failures.hpp"
#include "policy/live_pool.hpp"
#include "policy/pool.hpp"

namespace mc::admin {

/// The pool as the request specifies it, not validated yet. What is left out gets its default.
policy::PoolText to_control(const mc_proxy::v1::Pool& pool);
policy::BackendText to_control(const mc_proxy::v1::Backend& backend);
/// Nothing: the value is unspecified or unknown.
std::optional<policy::AdminState> to_state(mc_proxy::v1::BackendState state);
/// A change of a pool or a backend; monostate: it is none.
control::Change to_pool_change(const mc_proxy::v1::Change& change);

/// Every setting is written, also those that have their default.
void to_api(const policy::Pool& pool, mc_proxy::v1::Pool& out);

/// An ejected backend is that, whatever its last check found.
mc_proxy::v1::BackendHealth to_api(policy::Health health, bool is_ejected);

/// One moment on both clocks: states have times of one, the API those of the other.
struct Moment {
  Instant now = Clock::now();
  std::chrono::system_clock::time_point time = std::chrono::system_clock::now();
};
void to_api(const policy::LivePool& pool, const policy::LiveBackend& backend, const Moment& at,
            mc_proxy::v1::BackendStatus& out);
/// A name without addresses, which has the given place in the specification. It is down: it can get
/// no connections.
void to_api_unresolved(const policy::LivePool& pool, std::size_t place,
                       const control::NameFailures& failures, mc_proxy::v1::BackendStatus& out);
/// All backends in the order of the specification.
void to_api(const policy::LivePool& pool, const Moment& at, const control::NameFailures& failures,
            mc_proxy::v1::PoolStatus& out);

/// A field with a value of its enumeration that this server does not know, such as one of a newer
/// client. A default in its place would do something else than the client asked for.
struct UnknownValue {
  std::string field;  // its path in the message: "check.kind"
  std::string description;
};
std::optional<UnknownValue> find_unknown(const mc_proxy::v1::Pool& pool);
std::optional<UnknownValue> find_unknown(const mc_proxy::v1::Backend& backend);
/// For a state that must be given.
std::optional<UnknownValue> find_unknown(mc_proxy::v1::BackendState state);
/// The path begins with the change's: "add_pool.check.kind".
std::optional<UnknownValue> find_unknown(const mc_proxy::v1::Change& change);

}  // namespace mc::admin
