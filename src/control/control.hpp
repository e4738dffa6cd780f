// SPDX-License-Identifier: Apache-2.0
#pragma once
// The control plane: the only writer of policy. A change is validated, committed to the database,
// published to the workers and then acknowledged, in this order, one change at a time. A change
// that the database refused has no effect. Any thread may call, unless a comment restricts it;
// readers never wait for a writer.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.hpp"
#include "base/result.hpp"
#include "config/config.hpp"
#include "control/assignment.hpp"
#include "control/change.hpp"
#include "control/database.hpp"
#include "control/draft.hpp"
#include "control/enforcer.hpp"
#include "control/name_failures.hpp"
#include "control/state.hpp"
#include "control/warnings.hpp"
#include "policy/geoip.hpp"
#include "policy/policy.hpp"
#include "store/store.hpp"

namespace mc::control {

/// The conditions of a request, besides what it changes.
struct ChangeOptions {
  std::string who;          // for the log and the audit table
  std::string_view action;  // likewise: "add_route"
  std::optional<store::Revision> if_revision;
  bool dry_run = false;
  /// Whether open connections that the added rules cover are reset; nothing: as configured.
  std::optional<bool> cut_established;
};

/// How many change requests since the start reached the database.
struct ChangeCounts {
  std::uint64_t made = 0;
  std::uint64_t failed = 0;  // refused by the database
};

/// What a request did, or would do.
struct Applied {
  store::Revision revision = 0;
  std::uint32_t routes_added = 0;
  std::uint32_t routes_changed = 0;
  std::uint32_t routes_removed = 0;
  std::uint32_t rules_added = 0;
  std::uint32_t rules_removed = 0;
  std::uint32_t pools_added = 0;
  std::uint32_t pools_changed = 0;
  std::uint32_t pools_removed = 0;
  /// For each change of a batch, in its order; empty beyond kEffectsMax, and for a replacement.
  std::vector<Effect> effects;
};

/// Routes to move from one listener to another. A listener need not be configured; its name is then
/// an address, in the form of the configuration.
struct Move {
  std::string from;
  std::string to;
  bool keep = false;     // the routes stay at `from` too
  bool replace = false;  // routes of `to` with the same host name and match get these backends
};
struct Moved {
  store::Revision revision = 0;
  std::uint32_t routes = 0;
};

/// What a start would load from the database.
struct Rehearsal {
  std::shared_ptr<const State> state;
  bool is_new = false;  // there is no database yet: the state is the configuration's
  /// Listeners that are not configured, with the number of their routes.
  std::map<std::string, std::size_t> left_behind;
};

class Control {
 public:
  /// Opens the database, makes the first state from it, or from the configuration if the database
  /// is new, and publishes it. Where nothing can be written, only reads it and refuses changes
  /// until it can write. Errors name what is wrong and the remedy, and leave the database as it
  /// was. The other references outlive it.
  static Result<std::unique_ptr<Control>> open(const config::Config& config,
                                               policy::PublishedPolicy& published,
                                               Enforcer& enforcer, Log& log);
  /// What open() would load. Does not change the database, which another process may have open.
  /// Errors are those of open().
  static Result<Rehearsal> rehearse(const config::Config& config, Log& log);
  Control(const Control&) = delete;
  Control& operator=(const Control&) = delete;

  /// Seeds a new database, and takes changes from now on. Call it once, at the end of the start: a
  /// start that failed before leaves no seed behind.
  Result<void> seed();

  /// Makes all of the changes, or none.
  Outcome<Applied> apply(std::span<const Change> changes, const ChangeOptions& options);
  /// Makes the routes of `listener` exactly these.
  Outcome<Applied> replace_routes(const std::string& listener,
                                  std::span<const policy::RouteText> routes,
                                  const ChangeOptions& options);
  /// Gives all routes of a listener to another one.
  Outcome<Moved> move_routes(const Move& move, const ChangeOptions& options);
  /// Reads the GeoIP database again. On an error the one in force stays.
  Outcome<std::shared_ptr<const policy::GeoIp>> reload_geoip(std::string_view who);
  /// Other addresses of names, as DNS answered; those that nobody has as a backend are ignored.
  /// Publishes a policy of the same revision, and keeps the answers for the next start. Does not
  /// wait: false if a change is under way; then call again.
  bool take_answers(const policy::ResolvedNames& answers);
  /// A name is resolved, which may have failed before; its addresses follow with take_answers().
  void take_success(const std::string& name);
  /// A name cannot be resolved, for this reason ("SERVFAIL"). Its last addresses stay in use.
  void take_failure(const std::string& name, std::string why);
  /// To be called about once a second. Runs the database's checkpoint, for which no change should
  /// wait.
  void tick();
  /// Closes the database, so that another process may open it. Changes are refused meanwhile; waits
  /// for the one that is under way.
  void release_database();
  /// Opens it again. An error, which names the remedy, leaves changes refused.
  Result<void> take_database_back();
  /// Refuses changes from now on. Does not wait: a change under way may still be made.
  void stop() { stopping_ = true; }

  [[nodiscard]] std::shared_ptr<const State> state() const;
  [[nodiscard]] const Listeners& listeners() const { return listeners_; }
  [[nodiscard]] bool stopping() const { return stopping_; }
  [[nodiscard]] Warnings& warnings() { return warnings_; }
  [[nodiscard]] const Warnings& warnings() const { return warnings_; }
  [[nodiscard]] const NameFailures& name_failures() const { return name_failures_; }
  [[nodiscard]] ChangeCounts changes() const { return {changes_made_, changes_failed_}; }
  [[nodiscard]] const std::string& database_path() const { return database_.path(); }

  /// Resets the open connections of the clients that these rules cover. Returns once that has
  /// begun.
  void cut(const std::vector<Rule>& rules);

  /// The oldest `most` changes after this revision that the audit table has.
  [[nodiscard]] Result<std::vector<store::AuditRecord>> changes_after(store::Revision revision,
                                                                      std::size_t most) const;

  /// A complete copy of the database as a new file at `destination`.
  Result<void> snapshot(const std::string& destination) const;

 private:
  Control(const config::Config& config, policy::PublishedPolicy& published, Enforcer& enforcer,
          Log& log);

  /// Assigns the routes to listeners; logs those without a listener as warnings.
  Assignment assign_routes(store::Contents& contents);
  /// Makes the first state: of the contents, or of the configuration if they are new.
  Result<Assignment> load(const config::Config& config, store::Contents contents);
  Result<void> make_state(const Specification& specification, store::Revision revision);
  /// Of pools that listeners name and the database does not have.
  void warn_of_missing_pools() const;
  void warn_of_loop(std::size_t listener, const policy::Route& route) const;
  void warn_of_loop(const policy::Pool& pool) const;
  [[nodiscard]] Result<std::shared_ptr<const policy::GeoIp>> open_geoip(const RuleSet& rules) const;

  /// Takes the writer's lock, calls `edit` with a draft of the current state, and finishes the
  /// draft.
  Outcome<Applied> change(const ChangeOptions& options,
                          const std::function<Outcome<void>(Draft&)>& edit);

  // All of these with the writer's lock held.
  Outcome<void> admit(const ChangeOptions& options);
  Outcome<Applied> finish(const State& base, const Draft& draft, const ChangeOptions& options);
  Outcome<void> provide_geoip(State& next, const Difference& difference);
  Outcome<void> commit(const Difference& difference, const ChangeOptions& options,
                       store::Revision revision, const std::string& detail);
  void publish(std::shared_ptr<const State> next, std::unique_ptr<const policy::Policy> policy);
  void forget_failures(const policy::LivePools& pools);

  void warn_of_names();

  const std::string geoip_path_;  // empty: none is configured
  const bool cut_established_;
  const Listeners listeners_;
  std::vector<std::string> record_names_;  // of the listeners, in the database
  Log& log_;
  policy::PublishedPolicy& published_;
  Enforcer& enforcer_;

  std::atomic<std::size_t> waiting_{0};  // requests that have the writer's lock or wait for it
  mutable std::mutex writer_;  // one change at a time; held across the commit and the publication
  Warnings warnings_;
  NameFailures name_failures_;
  std::mutex name_warning_;  // held from the text to the warning, so that the last one stays
  Database database_;
  std::optional<store::ChangeSet> seed_;  // of a new database, until it is committed
  std::atomic<bool> stopping_{false};
  std::atomic<std::uint64_t> changes_made_{0};
  std::atomic<std::uint64_t> changes_failed_{0};

  mutable std::mutex state_lock_;  // held to copy or swap the pointer
  std::shared_ptr<const State> state_;
};

}  // namespace mc::control
