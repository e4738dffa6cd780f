// SPDX-License-Identifier: Apache-2.0
#include "proxy/pipe_pool.hpp"

#include <unistd.h>

#include <vector>

#include "proxy/limits.hpp"
#include "support/catch.hpp"
#include "unit/ring/loop_fixture.hpp"

using mc::proxy::Pipe;
using mc::proxy::PipeLease;
using mc::proxy::PipePool;

TEST_CASE("a clean pipe is used again, at once") {
  const auto loop = mc::test::make_loop();
  PipePool pool(*loop, 4);
  PipeLease lease = pool.acquire();
  REQUIRE(lease != nullptr);
  CHECK(lease->capacity >= 4096);
  const Pipe* const first = lease.get();
  lease.reset();
  lease = pool.acquire();
  CHECK(lease.get() == first);
  CHECK(pool.size() == 1);
}

TEST_CASE("a pipe with bytes in it is closed with them") {
  const auto loop = mc::test::make_loop();
  PipePool pool(*loop, 4);
  PipeLease pipe = pool.acquire();
  REQUIRE(pipe != nullptr);
  REQUIRE(::write(pipe->write_end.get(), "secret", 6) == 6);
  pipe->bytes = 6;
  pipe.reset();
  CHECK(pool.size() == 0);
}

TEST_CASE("the pool stops at its cap, and a returned pipe makes room") {
  const auto loop = mc::test::make_loop();
  PipePool pool(*loop, 3);
  std::vector<PipeLease> leased;
  for (int i = 0; i < 3; ++i) leased.push_back(pool.acquire());
  CHECK(pool.acquire() == nullptr);
  leased.back().reset();
  leased.back() = pool.acquire();
  CHECK(leased.back() != nullptr);
}

TEST_CASE("the pool keeps few empty pipes") {
  const auto loop = mc::test::make_loop();
  PipePool pool(*loop, 2 * mc::proxy::kPipesKept);
  std::vector<PipeLease> leased;
  for (std::size_t i = 0; i < 2 * mc::proxy::kPipesKept; ++i) leased.push_back(pool.acquire());
  leased.clear();
  CHECK(pool.size() == mc::proxy::kPipesKept);
}

TEST_CASE("the busiest pipe is leased before the others, and there is one") {
  const auto loop = mc::test::make_loop();
  PipePool pool(*loop, 4);
  PipeLease busiest = pool.acquire();
  PipeLease other = pool.acquire();
  REQUIRE(busiest->capacity == mc::proxy::kBusiestPipeBytes);
  CHECK(busiest->slots == busiest->capacity / static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)));
  CHECK(other->capacity == mc::proxy::kPipeBytes);
  const Pipe* const first = busiest.get();
  busiest.reset();
  other.reset();  // came back last
  PipeLease again = pool.acquire();
  CHECK(again.get() == first);

  again->bytes = 1;  // closed with what is in it
  again.reset();
  PipeLease spare = pool.acquire();
  PipeLease next = pool.acquire();
  CHECK(spare->capacity == mc::proxy::kPipeBytes);
  CHECK(next->capacity == mc::proxy::kBusiestPipeBytes);
}
