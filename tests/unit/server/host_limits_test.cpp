// SPDX-License-Identifier: Apache-2.0
#include "server/host_limits.hpp"

#include <algorithm>

#include "base/descriptor_limit.hpp"
#include "proxy/limits.hpp"
#include "support/catch.hpp"

namespace mc::server {

TEST_CASE("a server at rest has two descriptors for a worker, and two for each of its listeners") {
  CHECK(descriptors_at_rest(1, 0) == 2);
  CHECK(descriptors_at_rest(1, 1) == 4);
  CHECK(descriptors_at_rest(4, 3) == 32);
}

TEST_CASE("a start needs more than a server at rest has, and leaves those of operators") {
  const std::uint64_t of_all_else = 19;  // with an API on both sockets, and metrics
  CHECK(descriptors_to_start(2, 2) >=
        descriptors_at_rest(2, 2) + of_all_else + kDescriptorsOfOperators);
  CHECK(descriptors_to_start(4, 2) - descriptors_to_start(2, 2) ==
        descriptors_at_rest(4, 2) - descriptors_at_rest(2, 2));
}

TEST_CASE("a session takes two of the descriptors that nobody else has") {
  const std::uint64_t many = 1'000'000;
  CHECK(connections_that_fit(many, 0) == (many - proxy::kDescriptorsReserved) / 2);
  CHECK(connections_that_fit(many, 1000) == (many - 1000 - proxy::kDescriptorsReserved) / 2);
}

TEST_CASE("where there are few descriptors, half of them are for sessions, and one always fits") {
  CHECK(connections_that_fit(100, 20) == 20);  // 80 left, 40 of them reserved
  CHECK(connections_that_fit(100, 100) == 1);
  CHECK(connections_that_fit(10, 100) == 1);
  CHECK(connections_that_fit(0, 0) == 1);
}

TEST_CASE("more descriptors never mean fewer sessions") {
  std::uint64_t before = 0;
  for (std::uint64_t descriptors = 0; descriptors < 1000; ++descriptors) {
    const std::uint64_t fit = connections_that_fit(descriptors, 50);
    CHECK(fit >= before);
    before = fit;
  }
}

TEST_CASE("workers go round the processors that this process may use") {
  const auto usable = usable_cpus();
  REQUIRE_FALSE(usable.empty());
  CHECK(std::ranges::is_sorted(usable));
  CHECK(cpus_for(0) == usable);
  const auto cpus = cpus_for(static_cast<unsigned>(2 * usable.size() + 1));
  REQUIRE(cpus.size() == 2 * usable.size() + 1);
  for (std::size_t i = 0; i < cpus.size(); ++i) CHECK(cpus[i] == usable[i % usable.size()]);
  CHECK(cpus_for(1) == std::vector{usable.front()});
}

}  // namespace mc::server
