// SPDX-License-Identifier: Apache-2.0
#include "proxy/sweep.hpp"

#include <memory>
#include <utility>
#include <vector>

#include "proxy/limits.hpp"
#include "support/catch.hpp"

namespace mc::proxy {
namespace {

constexpr Instant kNow{std::chrono::seconds(10)};

// What a sweep sees of a session.
class Client final : public LiveConnection {
 public:
  explicit Client(const char* address, std::uint64_t number = 1) {
    facts_.peer = *SocketAddress::parse(address);
    facts_.number = number;
  }

  void be_named_by_proxy(const char* address) {
    facts_.more().client = *SocketAddress::parse(address);
  }
  void be_at(traffic::Stage stage, std::shared_ptr<policy::BackendState> backend) {
    facts_.stage = stage;
    facts_.pooled = std::make_unique<traffic::PoolFacts>();
    facts_.pooled->backend = std::move(backend);
  }
  [[nodiscard]] Reason reason() const { return interruption_.reason(); }
  void end_by_itself() { interruption_.settle(Reason::kCompleted); }
  void miss_deadline() { interruption_.time_out(Reason::kIdleTimeout); }
};

traffic::ConnectionFilter from(const char* prefix) {
  return {.source = IpPrefix::parse(prefix).value()};
}

std::shared_ptr<SweepResults> results_for(const traffic::ConnectionFilter& filter = {}) {
  return std::make_shared<SweepResults>(filter);
}

}  // namespace

TEST_CASE("a cut resets whom the firewall does not admit, and nobody else") {
  CutSweep sweep(std::make_shared<const policy::Firewall>(
      policy::FirewallRules{.ips = {IpAddress::parse("198.51.100.9").value()}}, nullptr));
  Client mallory("198.51.100.9:1");
  Client trent("198.51.100.8:1");
  CHECK(sweep.visit(mallory, kNow) == Sweep::Visit::kActed);
  CHECK(sweep.visit(trent, kNow) == Sweep::Visit::kPassed);
  CHECK(mallory.reason() == Reason::kFirewallCut);
  CHECK(trent.reason() == Reason::kNone);
  CHECK(sweep.acts_per_slice() == kResetsPerTurn);
}

TEST_CASE("a cut resets whom a proxy names, and whom a proxy conveys that is not admitted itself") {
  CutSweep sweep(std::make_shared<const policy::Firewall>(
      policy::FirewallRules{.ips = {IpAddress::parse("198.51.100.9").value()}}, nullptr));
  Client named("192.0.2.1:1");
  named.be_named_by_proxy("198.51.100.9:1");
  Client conveyed("198.51.100.9:1");
  conveyed.be_named_by_proxy("203.0.113.5:1");
  Client other("192.0.2.1:1");
  other.be_named_by_proxy("203.0.113.5:1");
  CHECK(sweep.visit(named, kNow) == Sweep::Visit::kActed);
  CHECK(sweep.visit(conveyed, kNow) == Sweep::Visit::kActed);
  CHECK(sweep.visit(other, kNow) == Sweep::Visit::kPassed);
}

TEST_CASE("the sweep for a backend that is down resets what it relays, and what dials goes on") {
  const auto state = [](const char* address) {
    return std::make_shared<policy::BackendState>("app", *BackendAddress::parse(address));
  };
  const auto down = state("192.0.2.1:443");
  BackendDownSweep sweep(down);
  Client relaying("198.51.100.9:1");
  relaying.be_at(traffic::Stage::kRelay, down);
  Client dialling("198.51.100.9:2");
  dialling.be_at(traffic::Stage::kDial, down);
  Client elsewhere("198.51.100.9:3");
  elsewhere.be_at(traffic::Stage::kRelay, state("192.0.2.1:443"));
  CHECK(sweep.visit(relaying, kNow) == Sweep::Visit::kActed);
  CHECK(sweep.visit(dialling, kNow) == Sweep::Visit::kPassed);
  CHECK(sweep.visit(elsewhere, kNow) == Sweep::Visit::kPassed);
  CHECK(relaying.reason() == Reason::kBackendDown);
  CHECK(dialling.reason() == Reason::kNone);
  CHECK(sweep.acts_per_slice() == kResetsPerTurn);
}

TEST_CASE("a close ends the connections that match, and counts each once") {
  const auto results = results_for(from("198.51.100.0/24"));
  FilterSweep sweep(results, SweepAction::kClose);
  Client one("198.51.100.9:1");
  Client other("203.0.113.1:1");
  CHECK(sweep.visit(one, kNow) == Sweep::Visit::kActed);
  CHECK(sweep.visit(one, kNow) == Sweep::Visit::kPassed);  // it is on its way out
  CHECK(sweep.visit(other, kNow) == Sweep::Visit::kPassed);
  sweep.slice_done();
  CHECK(one.reason() == Reason::kClosedByOperator);
  CHECK(other.reason() == Reason::kNone);
  CHECK(results->count() == 1);
  CHECK(results->take().rows.empty());
  CHECK(sweep.acts_per_slice() == kResetsPerTurn);
}

TEST_CASE(
    "a connection that ends by itself is neither listed nor closed, one that may yet meet "
    "its deadline is") {
  const auto results = results_for();
  FilterSweep sweep(results, SweepAction::kClose);
  Client ending("198.51.100.9:1");
  ending.end_by_itself();
  CHECK(sweep.visit(ending, kNow) == Sweep::Visit::kPassed);
  CHECK(ending.reason() == Reason::kCompleted);
  Client late("198.51.100.9:2");
  late.miss_deadline();
  CHECK(sweep.visit(late, kNow) == Sweep::Visit::kActed);
  CHECK(late.reason() == Reason::kClosedByOperator);
}

TEST_CASE("a count looks at all and touches none") {
  const auto results = results_for();
  FilterSweep sweep(results, SweepAction::kCount);
  Client client("198.51.100.9:1");
  CHECK(sweep.visit(client, kNow) == Sweep::Visit::kPassed);
  CHECK(results->count() == 0);  // until the slice is done
  sweep.slice_done();
  sweep.slice_done();
  CHECK(results->count() == 1);
  CHECK(client.reason() == Reason::kNone);
}

TEST_CASE("a listing hands over each slice as a whole, with what it found") {
  const auto results = results_for();
  {
    FilterSweep sweep(results, SweepAction::kList);
    CHECK(sweep.acts_per_slice() == kRowsPerTurn);
    Client one("198.51.100.9:1", 17);
    Client other("198.51.100.9:2", 18);
    CHECK(sweep.visit(one, kNow) == Sweep::Visit::kActed);
    CHECK(sweep.visit(other, kNow) == Sweep::Visit::kActed);
    sweep.slice_done();
    const auto taken = results->take();
    REQUIRE(taken.rows.size() == 2);
    CHECK(taken.rows[0].id.number == 17);
    CHECK(taken.rows[1].id.number == 18);
    CHECK_FALSE(taken.over);
  }
  const auto rest = results->take();
  CHECK(rest.rows.empty());
  CHECK(rest.over);
  CHECK(results->count() == 2);
}

TEST_CASE("a request is over when the last of its sweeps is, and not before it has begun") {
  const auto results = results_for();
  auto one = std::make_unique<FilterSweep>(results, SweepAction::kCount);
  auto other = std::make_unique<FilterSweep>(results, SweepAction::kCount);
  one.reset();
  CHECK_FALSE(results->take().over);
  other.reset();
  CHECK(results->take().over);
}

TEST_CASE("a sweep rests while nobody takes its rows, and is wanted again once they are taken") {
  const auto results = results_for();
  FilterSweep sweep(results, SweepAction::kList);
  CHECK(sweep.next() == Sweep::Next::kSlice);
  Client client("198.51.100.9:1");
  for (std::size_t i = 0; i < kRowsWaitingMax; ++i) sweep.visit(client, kNow);
  sweep.slice_done();
  CHECK(sweep.next() == Sweep::Next::kRest);
  const auto taken = results->take();
  CHECK(taken.rows.size() == kRowsWaitingMax);
  CHECK(taken.wanted);
  CHECK(sweep.next() == Sweep::Next::kSlice);
  sweep.visit(client, kNow);
  sweep.slice_done();
  CHECK_FALSE(results->take().wanted);  // none rests
}

TEST_CASE("a request that is given up ends its sweeps, also one that would rest") {
  const auto results = results_for();
  FilterSweep sweep(results, SweepAction::kList);
  results->give_up();
  CHECK(sweep.next() == Sweep::Next::kGiveUp);
}

}  // namespace mc::proxy
