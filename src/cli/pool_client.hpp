// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the commands for pools and for their backends share: they read pools of a running server,
// and change one thing. One thread.

#include <mc_proxy/v1/admin.pb.h>

#include <chrono>
#include <cstdint>
#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "cli/client.hpp"
#include "cli/command_line.hpp"
#include "policy/route.hpp"

namespace mc::cli {

/// All pools, or the one with this name; of one revision if possible. On an error it has printed
/// it, and returns the exit code.
std::expected<mc_proxy::v1::ListPoolsResponse, int> fetch_pools(Client& client,
                                                                const std::string& name);

/// The conditions of a change.
struct ChangeWords {
  bool dry_run = false;
  std::optional<std::uint64_t> if_revision;
};
void with_conditions(CLI::App& command, ChangeWords& words);

/// Makes one change. Errors as fetch_pools().
std::expected<mc_proxy::v1::ApplyChangesResponse, int> apply_change(
    Client& client, const mc_proxy::v1::Change& change, const ChangeWords& words);

/// Makes a change that is written from what the pool is now: `edit` makes it, or prints why it
/// cannot and returns false. If the pool or anything else was changed meanwhile, it reads again,
/// unless `words` has a revision. Errors as fetch_pools().
using Edit = std::function<bool(const mc_proxy::v1::Pool& pool, mc_proxy::v1::Change& change)>;
std::expected<mc_proxy::v1::ApplyChangesResponse, int> edit_pool(Client& client,
                                                                 const std::string& name,
                                                                 const Edit& edit,
                                                                 const ChangeWords& words);

/// Prints the response: as JSON, or "added pool app, revision 7" for `what` = "pool app". `more` is
/// put before the revision.
void print_change(const mc_proxy::v1::ApplyChangesResponse& response, const ClientOptions& options,
                  const ChangeWords& words, std::string_view what, std::string_view more = {});

/// The command line's name for a field of the change: "--check-interval" for
/// "changes[0].add_pool.check.interval", and for "changes[0].add_pool.backends[1].address" the
/// address.
std::string name_of_field(const std::string& field, const mc_proxy::v1::Change& change);

/// The route as policy/route.hpp knows it.
policy::RouteText text_of(const mc_proxy::v1::Route& route);

/// Whether checks or dials have found so; else an operator has taken it out, or it is available.
bool is_out_of_reach(const mc_proxy::v1::BackendStatus& backend);

/// How long the backend's health is what it is: "3m12s"; empty: since the server's start.
std::string time_since(const mc_proxy::v1::BackendStatus& backend,
                       std::chrono::system_clock::time_point now);

}  // namespace mc::cli
