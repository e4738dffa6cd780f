// SPDX-License-Identifier: Apache-2.0
#include "policy/choose.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "base/mix.hpp"
#include "support/catch.hpp"
#include "unit/policy/pools.hpp"

namespace mc::policy {
namespace {

using namespace std::chrono_literals;

const Instant kNow = Instant() + 1h;
constexpr Balance kAll[] = {Balance::kRandomTwo, Balance::kRoundRobin, Balance::kLeastConnections,
                            Balance::kHashSource, Balance::kHashName};

PoolSettings with(Balance balance) {
  PoolSettings settings;
  settings.balance = balance;
  return settings;
}

// Chooses for one client after another, and counts.
class Clients {
 public:
  explicit Clients(const LivePool& pool) : pool_(pool) {}

  std::expected<std::size_t, NoChoice> next() {
    name_ = "client" + std::to_string(number_) + ".example.com";
    return choose(pool_, {.client = IpAddress::v4(0x0a000000 + number_++),
                          .name = name_,
                          .turn = pool_.next_turn(),
                          .random = random_.next(),
                          .now = kNow,
                          .tried = tried});
  }
  /// How many of `count` connections, all of which stay, each backend gets.
  std::vector<std::size_t> spread(std::size_t count) {
    std::vector<std::size_t> got(pool_.backends().size());
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t place = next().value();
      ++got[place];
      ++pool_.backends()[place].state->counts.active;
    }
    return got;
  }

  std::vector<const BackendState*> tried;

 private:
  const LivePool& pool_;
  Random random_{1};
  std::uint32_t number_ = 0;
  std::string name_;
};

TEST_CASE("each policy spreads connections by weight") {
  const Balance balance = GENERATE(from_range(std::begin(kAll), std::end(kAll)));
  CAPTURE(word_of(balance, kBalanceWords));
  const LivePool pool = live(pool_of({100, 200, 300, 400}, with(balance)));
  constexpr std::size_t kCount = 20'000;
  const auto got = Clients(pool).spread(kCount);
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double p = static_cast<double>(i + 1) / 10;
    const double expected = p * kCount;
    // Five standard deviations of independent draws; those that look at connections, or take
    // turns, spread more evenly.
    CHECK(std::abs(static_cast<double>(got[i]) - expected) < 5 * std::sqrt(kCount * p * (1 - p)));
  }
}

TEST_CASE("equal backends get equal shares, to one connection where turns or counts decide") {
  const Balance balance = GENERATE(from_range(std::begin(kAll), std::end(kAll)));
  CAPTURE(word_of(balance, kBalanceWords));
  const LivePool pool = live(pool_of_size(10, with(balance)));
  const auto got = Clients(pool).spread(1000);
  const auto [least, most] = std::ranges::minmax(got);
  switch (balance) {
    case Balance::kRoundRobin:
    case Balance::kLeastConnections:
      CHECK(most - least <= 1);
      break;
    case Balance::kRandomTwo:
      CHECK(most - least <= 10);
      break;
    default:
      CHECK(most - least <= 100);
  }
}

TEST_CASE("round robin takes turns, and with weights interleaves them") {
  const LivePool equal = live(pool_of({5, 5, 5}, with(Balance::kRoundRobin)));
  Clients clients(equal);
  for (std::size_t i = 0; i < 9; ++i) CHECK(clients.next() == i % 3);

  const LivePool weighted = live(pool_of({10, 20, 30}, with(Balance::kRoundRobin)));
  const auto got = Clients(weighted).spread(6);
  CHECK(got == std::vector<std::size_t>{1, 2, 3});
}

TEST_CASE("round robin gives the turns of a dead backend to all others alike") {
  const LivePool pool = live(pool_of_size(5, with(Balance::kRoundRobin)));
  pool.backends()[2].state->set_health(Health::kDown, "", kNow);
  const auto got = Clients(pool).spread(10'000);
  CHECK(got[2] == 0);
  for (const std::size_t i : {0, 1, 3, 4}) {
    CHECK(got[i] > 2300);
    CHECK(got[i] < 2700);
  }
}

TEST_CASE("who is drained, in maintenance, down, ejected, full or tried gets no connection") {
  const Balance balance = GENERATE(from_range(std::begin(kAll), std::end(kAll)));
  CAPTURE(word_of(balance, kBalanceWords));
  Pool spec = pool_of_size(8, with(balance));
  spec.backends[0].state = AdminState::kDrain;
  spec.backends[1].state = AdminState::kMaintenance;
  spec.backends[4].max_connections = 3;
  const LivePool pool = live(spec);
  pool.backends()[2].state->set_health(Health::kDown, "", kNow);
  REQUIRE(pool.eject(*pool.backends()[3].state, "", kNow).has_value());
  pool.backends()[4].state->counts.active = 3;
  Clients clients(pool);
  clients.tried = {pool.backends()[5].state.get()};
  for (int i = 0; i < 200; ++i) {
    const std::size_t place = clients.next().value();
    CHECK((place == 6 || place == 7));
  }
}

TEST_CASE("backups, then backends without weight, then dead ones: each only without those before") {
  const Balance balance = GENERATE(from_range(std::begin(kAll), std::end(kAll)));
  CAPTURE(word_of(balance, kBalanceWords));
  Pool spec = pool_of({100, 100, 0}, with(balance));
  spec.backends[1].backup = true;
  const LivePool pool = live(spec);
  Clients clients(pool);
  CHECK(clients.next() == 0);
  pool.backends()[0].state->set_health(Health::kDown, "", kNow);
  CHECK(clients.next() == 1);
  pool.backends()[1].state->set_health(Health::kDown, "", kNow);
  CHECK(clients.next() == 2);
  pool.backends()[2].state->set_health(Health::kDown, "", kNow);
  CHECK(clients.next() == 0);  // all are dead: they are tried, in the same order
  clients.tried = {pool.backends()[0].state.get()};
  CHECK(clients.next() == 1);
}

TEST_CASE("where nothing can be chosen the reason is that all are full, or that there is none") {
  Pool spec = pool_of({100, 100});
  spec.backends[0].max_connections = 1;
  spec.backends[1].state = AdminState::kDrain;
  const LivePool pool = live(spec);
  pool.backends()[0].state->counts.active = 1;
  CHECK(Clients(pool).next() == std::unexpected(NoChoice::kFull));

  PoolSettings refuses;
  refuses.all_down = AllDown::kRefuse;
  const LivePool down = live(pool_of({100, 100}, refuses));
  for (const LiveBackend& backend : down.backends()) {
    backend.state->set_health(Health::kDown, "", kNow);
  }
  CHECK(Clients(down).next() == std::unexpected(NoChoice::kNone));

  const LivePool tried = live(pool_of({100}));
  Clients clients(tried);
  clients.tried = {tried.backends()[0].state.get()};
  CHECK(clients.next() == std::unexpected(NoChoice::kNone));
}

TEST_CASE("of a full backend and dead ones none is tried: the full one lives") {
  Pool spec = pool_of({100, 100});
  spec.backends[0].max_connections = 1;
  const LivePool pool = live(spec);
  pool.backends()[0].state->counts.active = 1;
  pool.backends()[1].state->set_health(Health::kDown, "", kNow);
  CHECK(Clients(pool).next() == std::unexpected(NoChoice::kFull));
}

TEST_CASE("a backend that returns gets its share slowly") {
  const Balance balance =
      GENERATE(Balance::kRandomTwo, Balance::kRoundRobin, Balance::kLeastConnections);
  CAPTURE(word_of(balance, kBalanceWords));
  PoolSettings settings = with(balance);
  settings.slow_start = 100s;
  const LivePool pool = live(pool_of_size(4, settings));
  pool.backends()[0].state->set_returned(kNow - 20s);
  const auto got = Clients(pool).spread(4000);
  CHECK(got[0] > 100);
  CHECK(got[0] < 400);  // of 1000
}

// ---- hashes: which key goes where

using Homes = std::map<std::uint32_t, BackendAddress>;

Homes homes_of(const LivePool& pool, std::uint32_t keys) {
  Homes homes;
  for (std::uint32_t key = 0; key < keys; ++key) {
    const auto place = choose(pool, {.client = IpAddress::v4(key << 4),
                                     .name = {},
                                     .turn = 0,
                                     .random = key,
                                     .now = kNow,
                                     .tried = {}});
    homes[key] = pool.backends()[place.value()].spec.address;
  }
  return homes;
}

std::size_t moved(const Homes& a, const Homes& b) {
  return static_cast<std::size_t>(
      std::ranges::count_if(a, [&](const auto& home) { return b.at(home.first) != home.second; }));
}

constexpr std::uint32_t kKeys = 20'000;

TEST_CASE(
    "a backend that leaves a hash moves only its own keys, one that comes takes only its share") {
  const LivePool ten = live(pool_of_size(10, with(Balance::kHashSource)));
  const LivePool nine = live(pool_of_size(9, with(Balance::kHashSource)));
  const Homes of_ten = homes_of(ten, kKeys);
  const Homes of_nine = homes_of(nine, kKeys);
  const auto own = static_cast<std::size_t>(std::ranges::count_if(
      of_ten, [&](const auto& home) { return home.second == backend_address(9); }));
  CHECK(moved(of_ten, of_nine) == own);
  CHECK(own > kKeys / 10 * 9 / 10);
  CHECK(own < kKeys / 10 * 11 / 10);
}

TEST_CASE("a dead backend's keys alone move, and come back") {
  const LivePool pool = live(pool_of_size(10, with(Balance::kHashSource)));
  const Homes before = homes_of(pool, kKeys);
  pool.backends()[3].state->set_health(Health::kDown, "", kNow);
  for (const auto& [key, home] : homes_of(pool, kKeys)) {
    const bool is_of_dead = before.at(key) == backend_address(3);
    REQUIRE((home != before.at(key)) == is_of_dead);
  }
  pool.backends()[3].state->set_health(Health::kUp, "", kNow);
  CHECK(homes_of(pool, kKeys) == before);
}

TEST_CASE("slow start moves no key of a hash") {
  PoolSettings settings = with(Balance::kHashSource);
  const Homes without = homes_of(live(pool_of_size(4, settings)), 1000);
  settings.slow_start = 100s;
  const LivePool pool = live(pool_of_size(4, settings));
  pool.backends()[0].state->set_returned(kNow - 1s);
  CHECK(homes_of(pool, 1000) == without);
}

TEST_CASE("a change of weight moves keys only to or from that backend, and about its share") {
  const LivePool before = live(pool_of({100, 100, 100, 100}, with(Balance::kHashSource)));
  const LivePool after = live(pool_of({100, 200, 100, 100}, with(Balance::kHashSource)));
  const Homes was = homes_of(before, kKeys);
  const Homes is = homes_of(after, kKeys);
  for (const auto& [key, home] : is) {
    if (home != was.at(key)) REQUIRE(home == backend_address(1));
  }
  // From a quarter to two fifths.
  const double share = static_cast<double>(moved(was, is)) / kKeys;
  CHECK(share > 0.13);
  CHECK(share < 0.17);
}

TEST_CASE("the order of backends and the process do not matter to a hash") {
  Pool turned = pool_of({100, 250, 30, 100}, with(Balance::kHashSource));
  const Homes homes = homes_of(live(turned), 1000);
  std::ranges::reverse(turned.backends);
  CHECK(homes_of(live(turned), 1000) == homes);
  // Known answers: a proxy of another version must choose alike.
  std::uint64_t sum = 0;
  for (const auto& [key, home] : homes) sum = mix64(sum ^ hash64(home.to_string()));
  CHECK(sum == 0x649e9263490cccbb);
}

TEST_CASE("a client's addresses of one prefix come to one backend") {
  const LivePool pool = live(pool_of_size(50, with(Balance::kHashSource)));
  const auto place = [&](const char* address) {
    return choose(
               pool,
               {.client = IpAddress::parse(address).value(), .name = {}, .now = kNow, .tried = {}})
        .value();
  };
  CHECK(place("2001:db8:1:2::1") == place("2001:db8:1:2:ffff::2"));
  CHECK(place("2001:db8:1:2::1") != place("2001:db8:1:3::1"));
  CHECK(place("203.0.113.1") != place("203.0.113.3"));
}

TEST_CASE("a name comes to one backend, whoever asks for it") {
  const LivePool pool = live(pool_of_size(50, with(Balance::kHashName)));
  const auto place = [&](std::string_view name, std::uint32_t client) {
    return choose(pool, {.client = IpAddress::v4(client),
                         .name = name,
                         .random = client,
                         .now = kNow,
                         .tried = {}})
        .value();
  };
  CHECK(place("a.example.com", 1) == place("a.example.com", 2));
  CHECK(place("a.example.com", 1) != place("b.example.com", 1));
}

}  // namespace
}  // namespace mc::policy
