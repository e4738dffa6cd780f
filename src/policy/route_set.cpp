// SPDX-License-Identifier: Apache-2.0
#include "policy/route_set.hpp"

#include <absl/container/flat_hash_set.h>
#include <absl/hash/hash.h>
#include <absl/strings/string_view.h>

#include <array>
#include <cstdint>
#include <utility>

namespace mc::policy {
namespace {

// A change copies one shard and the list of shards. The cheapest number of shards makes both cost
// the same: at 100,000 routes, 200 routes copied and 512 reference counts taken.
constexpr unsigned kShardBits = 9;
constexpr std::size_t kShardCount = std::size_t{1} << kShardBits;

/// A host with its hash, which is made once for choosing the shard and for looking into it.
struct HashedHost {
  explicit HashedHost(std::string_view host)
      : text(host), hash(absl::HashOf(absl::string_view(host.data(), host.size()))) {}

  /// The top bits: the hash table inside the shard goes by the low ones.
  [[nodiscard]] std::size_t shard() const { return hash >> (64 - kShardBits); }

  std::string_view text;
  std::uint64_t hash;
};

std::string_view host_of(const PatternRoutes& routes) { return routes.pattern().host(); }

struct HashByHost {
  using is_transparent = void;
  std::size_t operator()(const HashedHost& host) const { return host.hash; }
  std::size_t operator()(const PatternRoutes& routes) const {
    return HashedHost(host_of(routes)).hash;
  }
};

struct SameHost {
  using is_transparent = void;
  bool operator()(const PatternRoutes& a, const PatternRoutes& b) const {
    return host_of(a) == host_of(b);
  }
  bool operator()(const PatternRoutes& a, const HashedHost& b) const {
    return host_of(a) == b.text;
  }
};

using Shard = absl::flat_hash_set<PatternRoutes, HashByHost, SameHost>;

}  // namespace

/// What a set consists of. A shard that never had a route is null.
struct RouteSet::Shards {
  std::array<std::shared_ptr<const Shard>, kShardCount> list;
};

RouteSet::RouteSet() = default;

RouteSet::RouteSet(std::shared_ptr<const Shards> shards, std::size_t size)
    : shards_(std::move(shards)), size_(size) {}

const PatternRoutes* RouteSet::find(std::string_view host) const {
  if (empty()) return nullptr;
  const HashedHost wanted(host);
  const Shard* shard = shards_->list[wanted.shard()].get();
  if (shard == nullptr) return nullptr;
  const auto found = shard->find(wanted);
  return found == shard->end() ? nullptr : &*found;
}

void RouteSet::for_each(const std::function<void(const LiveRoute&)>& visit) const {
  if (empty()) return;
  for (const auto& shard : shards_->list) {
    if (!shard) continue;
    for (const PatternRoutes& routes : *shard) routes.for_each(visit);
  }
}

/// The shards that an edit has copied and may still change; null where the base's are still good.
struct RouteSet::Edit::Copies {
  Shard& writable(const RouteSet& base, std::size_t index) {
    auto& copy = list[index];
    if (!copy) {
      const Shard* original = base.shards_ ? base.shards_->list[index].get() : nullptr;
      copy = original ? std::make_shared<Shard>(*original) : std::make_shared<Shard>();
    }
    return *copy;
  }

  std::array<std::shared_ptr<Shard>, kShardCount> list;
};

RouteSet::Edit::Edit(RouteSet base) : base_(std::move(base)), size_(base_.size()) {}

RouteSet::Edit::~Edit() = default;

RouteSet::Edit::Copies& RouteSet::Edit::copies() {
  if (!copies_) copies_ = std::make_unique<Copies>();
  return *copies_;
}

void RouteSet::Edit::put(LiveRoute route) {
  const HashedHost host(route.spec.pattern.host());
  Shard& shard = copies().writable(base_, host.shard());
  auto found = shard.extract(host);
  if (found.empty()) {
    shard.insert(PatternRoutes(std::move(route)));
    ++size_;
    return;
  }
  PatternRoutes& routes = found.value();
  size_ -= routes.size();
  routes.put(std::move(route));
  size_ += routes.size();
  shard.insert(std::move(found));
}

bool RouteSet::Edit::remove(std::string_view host, const RouteMatch& match) {
  const HashedHost wanted(host);
  Shard& shard = copies().writable(base_, wanted.shard());
  const auto found = shard.find(wanted);
  if (found == shard.end() || found->by_match(match) == nullptr) return false;
  auto rest = found->without(match);
  shard.erase(found);
  if (rest) shard.insert(*std::move(rest));
  --size_;
  return true;
}

RouteSet RouteSet::Edit::finish() && {
  if (size_ == 0) return RouteSet();
  if (!copies_) return std::move(base_);
  auto next = base_.shards_ ? std::make_shared<Shards>(*base_.shards_) : std::make_shared<Shards>();
  for (std::size_t i = 0; i < kShardCount; ++i) {
    if (copies_->list[i]) next->list[i] = std::move(copies_->list[i]);
  }
  return RouteSet(std::move(next), size_);
}

}  // namespace mc::policy
