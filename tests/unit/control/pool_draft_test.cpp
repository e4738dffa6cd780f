// SPDX-License-Identifier: Apache-2.0
#include "control/pool_draft.hpp"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "control/limits.hpp"
#include "policy/limits.hpp"
#include "support/catch.hpp"
#include "unit/policy/pools.hpp"

namespace mc::control {
namespace {

using PoolOp = ValidPool::Op;
using BackendOp = ValidBackend::Op;

policy::Pool named(std::string name, std::size_t backends = 1) {
  policy::Pool pool = policy::pool_of_size(backends);
  pool.name = std::move(name);
  return pool;
}

/// There is one pool, "app", with two backends.
struct Base {
  Outcome<Effect> pool(PoolOp op, policy::Pool pool) {
    std::string name = pool.name;
    if (op == PoolOp::kRemove) return draft.apply(ValidPool{op, name, std::nullopt});
    return draft.apply(ValidPool{op, std::move(name), std::move(pool)});
  }
  Outcome<Effect> backend(BackendOp op, std::size_t number, policy::Backend backend = {},
                          std::string pool = "app") {
    backend.address = policy::backend_address(number);
    return draft.apply(ValidBackend{op, std::move(pool), std::move(backend)});
  }

  const policy::LivePools pools{
      {"app", std::make_shared<const policy::LivePool>(policy::live(named("app", 2)))}};
  PoolDraft draft{pools};
};

Effect::Result made(const Outcome<Effect>& outcome) {
  REQUIRE(outcome.has_value());
  return outcome->result;
}

Refusal refused(const Outcome<Effect>& outcome) {
  REQUIRE_FALSE(outcome.has_value());
  return outcome.error();
}

}  // namespace

TEST_CASE("pools are added, replaced and removed, each change on top of those before it") {
  Base base;
  CHECK(made(base.pool(PoolOp::kAdd, named("new"))) == Effect::Result::kAdded);
  CHECK(refused(base.pool(PoolOp::kAdd, named("new"))).message ==
        "there is a pool \"new\" already; remove it first, or replace it");
  CHECK(made(base.pool(PoolOp::kPut, named("new"))) == Effect::Result::kUnchanged);
  CHECK(made(base.pool(PoolOp::kPut, named("new", 3))) == Effect::Result::kChanged);
  CHECK(made(base.pool(PoolOp::kRemove, named("app"))) == Effect::Result::kRemoved);
  CHECK(refused(base.pool(PoolOp::kRemove, named("app"))).kind == RefusalKind::kNotFound);
  CHECK(made(base.pool(PoolOp::kPut, named("other"))) == Effect::Result::kAdded);
  CHECK_FALSE(base.draft.has("app"));
  CHECK(base.draft.had("app"));
  CHECK(base.draft.has("new"));
  CHECK_FALSE(base.draft.had("new"));
}

TEST_CASE("a pool that does not exist is answered with those that do, if they are few") {
  Base base;
  CHECK(refused(base.pool(PoolOp::kRemove, named("ap"))).message ==
        "there is no pool \"ap\"; there are \"app\"");
  made(base.pool(PoolOp::kAdd, named("new")));
  CHECK(refused(base.backend(BackendOp::kAdd, 5, {}, "ap")).message ==
        "there is no pool \"ap\"; there are \"app\", \"new\"");
  for (std::size_t i = 0; i < kPoolsNamed; ++i) {
    made(base.pool(PoolOp::kAdd, named("p" + std::to_string(i))));
  }
  CHECK(refused(base.pool(PoolOp::kRemove, named("ap"))).message == "there is no pool \"ap\"");
  CHECK(base.draft.difference().size() == 1 + kPoolsNamed);
}

TEST_CASE("backends are added, replaced and removed, in the order in which they came") {
  Base base;
  CHECK(made(base.backend(BackendOp::kAdd, 3)) == Effect::Result::kAdded);
  CHECK(refused(base.backend(BackendOp::kAdd, 3)).kind == RefusalKind::kAlreadyExists);
  CHECK(made(base.backend(BackendOp::kPut, 3)) == Effect::Result::kUnchanged);
  CHECK(made(base.backend(BackendOp::kPut, 0, {.weight = 7})) == Effect::Result::kChanged);
  CHECK(made(base.backend(BackendOp::kPut, 4)) == Effect::Result::kAdded);
  CHECK(made(base.backend(BackendOp::kRemove, 1)) == Effect::Result::kRemoved);
  CHECK(refused(base.backend(BackendOp::kRemove, 1)).message ==
        "pool \"app\" has no backend 10.0.0.2:443");
  const auto difference = base.draft.difference();
  REQUIRE(difference.size() == 1);
  CHECK(difference[0].before == named("app", 2));
  const auto& after = difference[0].after->backends;
  REQUIRE(after.size() == 3);
  CHECK(after[0].weight == 7);
  CHECK(after[1].address.to_string() == "10.0.0.4:443");
  CHECK(after[2].address.to_string() == "10.0.0.5:443");
}

TEST_CASE("a new state leaves the rest of a backend as it is") {
  Base base;
  made(base.backend(BackendOp::kPut, 0, {.weight = 7, .max_connections = 9}));
  const policy::Backend drained{.state = policy::AdminState::kDrain};
  CHECK(made(base.backend(BackendOp::kSetState, 0, drained)) == Effect::Result::kChanged);
  CHECK(made(base.backend(BackendOp::kSetState, 0, drained)) == Effect::Result::kUnchanged);
  CHECK(refused(base.backend(BackendOp::kSetState, 9, drained)).kind == RefusalKind::kNotFound);
  const policy::Backend after = base.draft.difference()[0].after->backends[0];
  CHECK(after.weight == 7);
  CHECK(after.max_connections == 9);
  CHECK(after.state == policy::AdminState::kDrain);
}

TEST_CASE("a pool's last backend stays") {
  Base base;
  made(base.backend(BackendOp::kRemove, 0));
  const Refusal refusal = refused(base.backend(BackendOp::kRemove, 1));
  CHECK(refusal.kind == RefusalKind::kFailedPrecondition);
  CHECK(refusal.message ==
        "10.0.0.2:443 is the last backend of pool \"app\"; remove the pool, or add another backend "
        "first");
}

TEST_CASE("the difference of pools is net") {
  Base base;
  made(base.pool(PoolOp::kRemove, named("app")));
  made(base.pool(PoolOp::kAdd, named("app", 2)));
  made(base.pool(PoolOp::kAdd, named("new")));
  made(base.pool(PoolOp::kRemove, named("new")));
  made(base.backend(BackendOp::kAdd, 7));
  made(base.backend(BackendOp::kRemove, 7));
  CHECK(base.draft.difference().empty());
}

TEST_CASE("there are no more pools, and backends of one, than the limits allow") {
  Base base;
  made(base.pool(PoolOp::kPut, named("app", policy::kPoolBackendsMax)));
  CHECK(refused(base.backend(BackendOp::kAdd, 2'000)).kind == RefusalKind::kTooMany);
  CHECK(refused(base.backend(BackendOp::kPut, 2'000)).kind == RefusalKind::kTooMany);
  made(base.backend(BackendOp::kRemove, 0));
  made(base.backend(BackendOp::kAdd, 2'000));
  for (std::size_t i = 1; i < policy::kPoolsMax; ++i) {
    REQUIRE(base.pool(PoolOp::kAdd, named("p" + std::to_string(i))).has_value());
  }
  CHECK(refused(base.pool(PoolOp::kAdd, named("one-more"))).kind == RefusalKind::kTooMany);
  CHECK(made(base.pool(PoolOp::kPut, named("p1", 2))) == Effect::Result::kChanged);
  made(base.pool(PoolOp::kRemove, named("p1")));
  made(base.pool(PoolOp::kAdd, named("one-more")));
}

}  // namespace mc::control
