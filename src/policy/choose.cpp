// SPDX-License-Identifier: Apache-2.0
#include "policy/choose.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <optional>

#include "base/assert.hpp"
#include "base/mix.hpp"

namespace mc::policy {
namespace {

// Draws before random_two looks at all backends: with half of them dead, one choice in sixteen.
constexpr int kDraws = 4;

// -log2 of (hash + 1) / 2^64, with an error below 0.0001. Not std::log2(): two versions of a
// library may differ in the last bit, and two proxies must choose alike.
double negative_log2(std::uint64_t hash) {
  const int zeros = std::countl_zero(hash | 1);
  const double x = static_cast<double>((hash | 1) << zeros) * 0x1p-63 - 1;  // 0 to 1
  const double log =
      x + x * (1 - x) * (0.4417403 + x * (-0.2660299 + x * (0.1463143 - x * 0.0440047)));
  return zeros + 1 - log;
}

std::uint64_t word_at(const IpAddress::Bytes& bytes, std::size_t begin) {
  std::uint64_t word = 0;
  for (std::size_t i = begin; i < begin + 8; ++i) word = word << 8 | bytes[i];
  return word;
}

// Of the first `bits` bits of the 128.
std::uint64_t key_of(const IpAddress& address, int bits) {
  std::uint64_t high = word_at(address.bytes(), 0);
  std::uint64_t low = word_at(address.bytes(), 8);
  if (bits < 64) high &= ~(~std::uint64_t{0} >> bits);
  low = bits <= 64 ? 0 : bits < 128 ? low & ~(~std::uint64_t{0} >> (bits - 64)) : low;
  return mix64(high ^ mix64(low + 1));
}

class Choice {
 public:
  Choice(const LivePool& pool, const ChoiceInput& by) : pool_(pool), by_(by), random_(by.random) {}

  std::expected<std::size_t, NoChoice> make() {
    for (const Tier& tier : pool_.tiers()) {
      if (const auto chosen = among(tier)) return *chosen;
    }
    if (is_full_) return std::unexpected(NoChoice::kFull);
    if (pool_.spec().settings.all_down == AllDown::kTry) {
      tries_dead_ = true;
      for (const Tier& tier : pool_.tiers()) {
        if (const auto chosen = among(tier)) return *chosen;
      }
    }
    return std::unexpected(is_full_ ? NoChoice::kFull : NoChoice::kNone);
  }

 private:
  using Place = std::optional<std::size_t>;

  Place among(const Tier& tier) {
    if (tier.members.size() == 1) {
      return is_eligible(tier.members[0]) ? Place(tier.members[0]) : std::nullopt;
    }
    switch (pool_.spec().settings.balance) {
      case Balance::kRandomTwo:
        return random_two(tier);
      case Balance::kRoundRobin:
        return in_turn(tier);
      case Balance::kLeastConnections:
        return with_fewest(tier);
      case Balance::kHashSource:
        return by_hash(tier, source_key());
      case Balance::kHashName:
        return by_hash(tier, hash64(by_.name));
    }
    return std::nullopt;
  }

  Place random_two(const Tier& tier) {
    Place first;
    for (int i = 0; i < kDraws; ++i) {
      const std::size_t drawn = draw(tier);
      if (drawn == first || !is_eligible(drawn) || holds_back(drawn)) continue;
      if (first.has_value()) return has_fewer(drawn, *first) ? drawn : *first;
      first = drawn;
    }
    return first.has_value() ? first : any_by_weight(tier);
  }

  // Where the turn's own backend is not eligible, any other: the next one would get its share, too.
  Place in_turn(const Tier& tier) {
    const std::uint64_t sum = tier.weights_sum.back();
    const std::size_t own = at(tier, static_cast<std::uint32_t>(by_.turn % sum * tier.step % sum));
    if (is_eligible(own) && !holds_back(own)) return own;
    return any_by_weight(tier);
  }

  Place with_fewest(const Tier& tier) {
    Place best;
    const std::size_t count = tier.members.size();
    const std::size_t start = random_.next() % count;  // so that ties go round
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t place = tier.members[(start + i) % count];
      if (!is_eligible(place)) continue;
      if (!best.has_value() || has_fewer(place, *best)) best = place;
    }
    return best;
  }

  // Weighted rendezvous hashing: each backend has a cost for the key, and the lowest wins. A change
  // of one backend moves only the keys that it wins or loses. Nearly always the first one is
  // eligible, so that is asked last.
  Place by_hash(const Tier& tier, std::uint64_t key) {
    const std::size_t first = tier.has_equal_weights ? cheapest(tier, key, hash_cost, all)
                                                     : cheapest(tier, key, weighted_cost, all);
    if (is_eligible(first)) return first;
    const auto is_candidate = [this](std::size_t place) { return is_eligible(place); };
    const std::size_t next = tier.has_equal_weights
                                 ? cheapest(tier, key, hash_cost, is_candidate)
                                 : cheapest(tier, key, weighted_cost, is_candidate);
    return next != kNowhere ? Place(next) : std::nullopt;
  }

  static constexpr std::size_t kNowhere = SIZE_MAX;
  static bool all(std::size_t) { return true; }
  static std::uint64_t hash_cost(std::uint64_t hash, const LiveBackend&) { return ~hash; }
  static double weighted_cost(std::uint64_t hash, const LiveBackend& backend) {
    return negative_log2(hash) * backend.inverse_weight;
  }

  std::size_t cheapest(const Tier& tier, std::uint64_t key, auto cost_of, auto is_candidate) const {
    std::size_t best = kNowhere;
    auto best_cost = cost_of(0, pool_.backends().front());
    for (const std::uint32_t place : tier.members) {
      const LiveBackend& backend = pool_.backends()[place];
      const auto cost = cost_of(mix64(key ^ backend.seed), backend);
      if ((best != kNowhere && cost >= best_cost) || !is_candidate(place)) continue;
      best = place;
      best_cost = cost;
    }
    return best;
  }

  [[nodiscard]] std::uint64_t source_key() const {
    const PoolSettings& settings = pool_.spec().settings;
    const auto bits = by_.client.is_v4() ? settings.hash_prefix_v4 : settings.hash_prefix_v6;
    return key_of(by_.client, static_cast<int>(bits) + (by_.client.is_v4() ? 96 : 0));
  }

  // ---- of all eligible ones, one by its weight in force

  Place any_by_weight(const Tier& tier) {
    Place chosen;
    std::uint64_t sum = 0;
    for (const std::uint32_t place : tier.members) {
      if (!is_eligible(place)) continue;
      const std::uint64_t weight = weight_of(place);
      sum += weight;
      if (random_.next() % sum < weight) chosen = place;
    }
    return chosen;
  }

  std::size_t draw(const Tier& tier) {
    return at(tier, static_cast<std::uint32_t>(random_.next() % tier.weights_sum.back()));
  }
  static std::size_t at(const Tier& tier, std::uint32_t point) {
    if (tier.has_equal_weights) return tier.members[point];
    const auto found = std::ranges::upper_bound(tier.weights_sum, point);
    return tier.members[static_cast<std::size_t>(found - tier.weights_sum.begin())];
  }

  // ---- one backend

  bool is_eligible(std::size_t place) {
    const LiveBackend& backend = pool_.backends()[place];
    const BackendState& state = *backend.state;
    if (!tries_dead_ && !state.is_alive(by_.now)) return false;
    if (std::ranges::find(by_.tried, &state) != by_.tried.end()) return false;
    const auto most = static_cast<std::uint64_t>(backend.spec.max_connections);
    if (most == 0 || active(place) < most) return true;
    is_full_ = true;
    return false;
  }

  // Whether slow start passes the backend by in this draw.
  bool holds_back(std::size_t place) {
    if (pool_.spec().settings.slow_start.count() == 0) return false;
    const auto weight = static_cast<std::uint64_t>(pool_.backends()[place].spec.weight);
    return weight > 0 && random_.next() % weight >= weight_of(place);
  }

  [[nodiscard]] std::uint64_t weight_of(std::size_t place) const {
    return std::max(pool_.weight_of(pool_.backends()[place], by_.now), 1U);
  }
  [[nodiscard]] std::uint64_t active(std::size_t place) const {
    return pool_.backends()[place].state->counts.active.load(std::memory_order_relaxed);
  }
  // Counts the connection that is to come: of two idle backends, the one with more weight.
  [[nodiscard]] bool has_fewer(std::size_t a, std::size_t b) const {
    return (active(a) + 1) * weight_of(b) < (active(b) + 1) * weight_of(a);
  }

  const LivePool& pool_;
  const ChoiceInput& by_;
  Random random_;
  bool tries_dead_ = false;
  bool is_full_ = false;
};

}  // namespace

std::expected<std::size_t, NoChoice> choose(const LivePool& pool, const ChoiceInput& by) {
  return Choice(pool, by).make();
}

}  // namespace mc::policy
