// SPDX-License-Identifier: Apache-2.0
#include "control/control.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <utility>
#include <variant>

#include "base/assert.hpp"
#include "control/audit_text.hpp"
#include "control/limits.hpp"
#include "control/wall_clock.hpp"

namespace mc::control {
namespace {

Applied summary(const Difference& difference, store::Revision revision) {
  Applied applied{.revision = revision};
  for (const Difference::RouteChange& change : difference.routes) {
    if (!change.before.has_value()) {
      ++applied.routes_added;
    } else if (!change.after.has_value()) {
      ++applied.routes_removed;
    } else {
      ++applied.routes_changed;
    }
  }
  applied.rules_added = static_cast<std::uint32_t>(difference.added_rules.size());
  applied.rules_removed = static_cast<std::uint32_t>(difference.removed_rules.size());
  for (const PoolChange& change : difference.pools) {
    if (!change.before.has_value()) {
      ++applied.pools_added;
    } else if (!change.after.has_value()) {
      ++applied.pools_removed;
    } else {
      ++applied.pools_changed;
    }
  }
  return applied;
}

RefusalKind kind_of(store::Trouble trouble) {
  switch (trouble) {
    case store::Trouble::kNoRoom:
      return RefusalKind::kStoreFull;
    case store::Trouble::kLocked:
      return RefusalKind::kStoreLocked;
    case store::Trouble::kReplaced:
      return RefusalKind::kStoreReplaced;
    case store::Trouble::kOther:
      break;
  }
  return RefusalKind::kStoreFailed;
}

// Counts itself in `all` while it lives.
class Waiting {
 public:
  explicit Waiting(std::atomic<std::size_t>& all) : all_(all), before_(all.fetch_add(1)) {}
  ~Waiting() { all_.fetch_sub(1); }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;
  [[nodiscard]] std::size_t before() const { return before_; }

 private:
  std::atomic<std::size_t>& all_;
  const std::size_t before_;
};

std::unexpected<Refusal> refuse_stopping() {
  return refuse(RefusalKind::kStopping, "the server is stopping and takes no more changes");
}

std::unexpected<Refusal> refuse_succeeded() {
  return refuse(RefusalKind::kStopping,
                "the server is handing over to its successor and takes no more changes; try again");
}

}  // namespace

std::shared_ptr<const State> Control::state() const {
  const std::lock_guard lock(state_lock_);
  return state_;
}

void Control::tick() {
  // Does not wait for the lock: if changes queue up, commits run the checkpoint themselves, and the
  // caller has other work.
  const std::unique_lock writer(writer_, std::try_to_lock);
  if (writer.owns_lock()) database_.tick();
}

Result<void> Control::snapshot(const std::string& destination) const {
  return database_.snapshot(destination);
}

void Control::release_database() {
  const std::lock_guard writer(writer_);
  database_.release();
}

Result<void> Control::take_database_back() {
  const std::lock_guard writer(writer_);
  return database_.take_back();
}

// ---- changes

Outcome<Applied> Control::apply(std::span<const Change> changes, const ChangeOptions& options) {
  const auto valid = validate(changes, listeners_);
  if (!valid.has_value()) return std::unexpected(valid.error());
  std::vector<Effect> effects;
  auto applied = change(options, [&](Draft& draft) -> Outcome<void> {
    for (std::size_t i = 0; i < valid->size(); ++i) {
      draft.at(i);
      auto made = draft.apply((*valid)[i]);
      if (!made.has_value()) {
        made.error().index = i;
        return std::unexpected(std::move(made.error()));
      }
      if (valid->size() <= kEffectsMax) effects.push_back(*std::move(made));
    }
    return {};
  });
  if (applied.has_value()) applied->effects = std::move(effects);
  return applied;
}

Outcome<Applied> Control::replace_routes(const std::string& listener,
                                         std::span<const policy::RouteText> routes,
                                         const ChangeOptions& options) {
  const auto valid = validate_routes(listener, routes, listeners_);
  if (!valid.has_value()) return std::unexpected(valid.error());
  return change(options, [&](Draft& draft) -> Outcome<void> {
    draft.clear_routes(listeners_.find(listener).value());
    for (const ValidChange& put : *valid) {
      if (auto made = draft.apply(put); !made.has_value()) {
        return std::unexpected(std::move(made.error()));
      }
    }
    return {};
  });
}

Outcome<Applied> Control::change(const ChangeOptions& options,
                                 const std::function<Outcome<void>(Draft&)>& edit) {
  const Waiting waiting(waiting_);
  if (waiting.before() >= kWaitingMax) {
    return refuse(RefusalKind::kTooMany,
                  fmt::format("{} changes wait already; try again when they are made, or make many "
                              "changes with one request",
                              kWaitingMax));
  }
  const std::lock_guard writer(writer_);
  if (auto admitted = admit(options); !admitted.has_value()) {
    return std::unexpected(std::move(admitted.error()));
  }
  const auto base = state();
  Draft draft(*base, listeners_);
  if (auto edited = edit(draft); !edited.has_value()) {
    return std::unexpected(std::move(edited.error()));
  }
  return finish(*base, draft, options);
}

Outcome<void> Control::admit(const ChangeOptions& options) {
  if (stopping_) return refuse_stopping();
  if (database_.is_released()) return refuse_succeeded();
  if (const auto may = database_.require_writable(); !may.has_value()) {
    return refuse(RefusalKind::kStoreReadOnly, may.error().message);
  }
  if (seed_.has_value()) return refuse(RefusalKind::kStopping, "the server is starting; try again");
  const store::Revision now = state()->revision;
  if (options.if_revision.has_value() && *options.if_revision != now) {
    return refuse(RefusalKind::kStale,
                  fmt::format("if_revision is {}, but the current revision is {}: what the request "
                              "was based on has changed; read again and decide again",
                              *options.if_revision, now));
  }
  return {};
}

Outcome<Applied> Control::finish(const State& base, const Draft& draft,
                                 const ChangeOptions& options) {
  if (auto exist = draft.require_pools(); !exist.has_value()) {
    return std::unexpected(std::move(exist.error()));
  }
  if (auto few = draft.require_few_matches(); !few.has_value()) {
    return std::unexpected(std::move(few.error()));
  }
  const Difference difference = draft.difference();
  Applied applied = summary(difference, base.revision);
  State next = base;
  if (auto provided = provide_geoip(next, difference); !provided.has_value()) {
    return std::unexpected(std::move(provided.error()));
  }
  if (options.dry_run) return applied;
  if (!difference.empty()) {
    next = changed(next, difference);
    applied.revision = ++next.revision;
    // All is built before the commit, so nothing can fail between commit and publication.
    auto policy = next.policy();
    auto shared = std::make_shared<const State>(std::move(next));
    const std::string detail = audit_text(difference, listeners_);
    if (auto done = commit(difference, options, applied.revision, detail); !done.has_value()) {
      return std::unexpected(std::move(done.error()));
    }
    publish(std::move(shared), std::move(policy));
    ++changes_made_;
    log_.info("policy changed", {{"action", options.action},
                                 {"detail", detail},
                                 {"revision", applied.revision},
                                 {"by", options.who}});
  }
  if (options.cut_established.value_or(cut_established_)) {
    const std::vector<Rule> wanted = draft.wanted_rules();
    cut(wanted);
    if (!wanted.empty()) enforcer_.cut_draining(wanted);
  }
  return applied;
}

Outcome<void> Control::commit(const Difference& difference, const ChangeOptions& options,
                              store::Revision revision, const std::string& detail) {
  const auto committed =
      database_.commit(to_records(difference, record_names_),
                       {wall_clock(), options.who, std::string(options.action), detail});
  if (committed.has_value()) {
    MC_ASSERT(*committed == revision, "nobody else commits");
    return {};
  }
  ++changes_failed_;
  log_.error(
      "change refused by the database; nothing was changed",
      {{"action", options.action}, {"by", options.who}, {"error", committed.error().message}});
  return refuse(kind_of(committed.error().trouble), committed.error().message);
}

void Control::publish(std::shared_ptr<const State> next,
                      std::unique_ptr<const policy::Policy> policy) {
  published_.publish(std::move(policy));
  const auto pools = next->pools;
  {
    const std::lock_guard lock(state_lock_);
    state_.swap(next);  // the old one is destroyed after the lock
  }
  // After the swap: a name may fail at once, and must be known then.
  enforcer_.published(pools);
  if (next->pools != pools) forget_failures(*pools);
}

// Only for the rules of the request: connections that earlier rules spared stay open.
void Control::cut(const std::vector<Rule>& rules) {
  if (rules.empty()) return;
  RuleSet wanted;
  for (const Rule& rule : rules) wanted.append(rule);
  enforcer_.cut(std::make_shared<const policy::Firewall>(
      policy::FirewallRules{wanted.ips, wanted.cidrs, wanted.countries},
      state()->firewall.geoip()));
}

// ---- what was changed

Result<std::vector<store::AuditRecord>> Control::changes_after(store::Revision revision,
                                                               std::size_t most) const {
  return database_.audit_after(revision, most);
}

// ---- GeoIP

// If the GeoIP database could not be read at the start, and no rule needed it, the first country
// rule makes this read it again.
Outcome<void> Control::provide_geoip(State& next, const Difference& difference) {
  const bool countries =
      !difference.added_rules.empty() && difference.added_rules.back().type() == RuleType::kCountry;
  if (!countries || next.firewall.geoip() != nullptr) return {};
  if (geoip_path_.empty()) {
    return refuse(RefusalKind::kFailedPrecondition,
                  "firewall: geoip_db is required: a country rule needs a database of countries; "
                  "write [firewall] geoip_db in the configuration and restart");
  }
  auto opened = policy::GeoIp::open(geoip_path_);
  if (!opened.has_value()) {
    return refuse(RefusalKind::kFailedPrecondition,
                  "firewall: geoip_db is required: " + opened.error().message);
  }
  next.firewall = next.firewall.with_geoip(*std::move(opened));
  return {};
}

Outcome<std::shared_ptr<const policy::GeoIp>> Control::reload_geoip(std::string_view who) {
  const auto give_up = [&](std::unexpected<Refusal> refusal) {
    log_.error("GeoIP database not reloaded; the one in force stays",
               {{"error", refusal.error().message}, {"by", who}});
    return refusal;
  };
  // The file is read under the lock: of two reloads, the later reading is in force.
  const std::lock_guard writer(writer_);
  if (stopping_) return give_up(refuse_stopping());
  if (database_.is_released()) return give_up(refuse_succeeded());
  if (geoip_path_.empty()) {
    return give_up(
        refuse(RefusalKind::kFailedPrecondition,
               "no GeoIP database is configured; write [firewall] geoip_db and restart"));
  }
  auto opened = policy::GeoIp::open(geoip_path_);
  if (!opened.has_value()) {
    // A signal has no reply, and `systemctl reload` reports success.
    warnings_.raise(WarningKind::kGeoIpNotReloaded,
                    fmt::format("the GeoIP database was not reloaded, the data read before are in "
                                "force: {}; put a database in place and reload again",
                                opened.error().message));
    return give_up(refuse(RefusalKind::kFailedPrecondition, opened.error().message));
  }
  warnings_.clear(WarningKind::kGeoIpNotReloaded);
  State next = *state();
  next.firewall = next.firewall.with_geoip(*opened);
  const auto rules = next.rules;
  auto policy = next.policy();
  publish(std::make_shared<const State>(std::move(next)), std::move(policy));
  log_.info("GeoIP database reloaded",
            {{"path", geoip_path_},
             {"type", (*opened)->type()},
             {"built", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", (*opened)->built_at())},
             {"by", who}});
  if (cut_established_ && !rules->countries.empty()) {
    enforcer_.cut(std::make_shared<const policy::Firewall>(
        policy::FirewallRules{{}, {}, rules->countries}, *opened));
  }
  return *std::move(opened);
}

}  // namespace mc::control
