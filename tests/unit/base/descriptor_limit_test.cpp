// SPDX-License-Identifier: Apache-2.0
#include "base/descriptor_limit.hpp"

#include <fcntl.h>
#include <sys/resource.h>

#include <vector>

#include "base/fd.hpp"
#include "support/catch.hpp"
#include "support/descriptors.hpp"

namespace mc {
namespace {

rlim_t soft_limit() {
  rlimit limit{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  return limit.rlim_cur;
}

rlim_t hard_limit() {
  rlimit limit{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  return limit.rlim_max;
}

Fd open_something() { return Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

}  // namespace

TEST_CASE("connections get all descriptors but a few, which operators get for a moment") {
  const test::DescriptorsBelow restored(64);
  CHECK(raise_descriptor_limit() == hard_limit());
  const rlim_t of_connections = soft_limit();
  REQUIRE(hard_limit() > 8 * kDescriptorsOfOperators);
  CHECK(of_connections == hard_limit() - kDescriptorsOfOperators);
  {
    const OperatorDescriptors one;
    CHECK(soft_limit() == hard_limit());
    {
      const OperatorDescriptors other;
      CHECK(soft_limit() == hard_limit());
    }
    CHECK(soft_limit() == hard_limit());  // the first one still lives
  }
  CHECK(soft_limit() == of_connections);
}

TEST_CASE("an operator gets a descriptor where connections have taken all of theirs") {
  const test::DescriptorsBelow restored(64);
  raise_descriptor_limit();
  const test::DescriptorsBelow few(64);
  std::vector<Fd> taken;
  while (taken.empty() || taken.back()) taken.push_back(open_something());
  REQUIRE(out_of_descriptors(errno));
  CHECK(open_for_operator(open_something));
  CHECK_FALSE(open_something());  // the limit is back
}

TEST_CASE("what fails for another reason is not tried again") {
  int tried = 0;
  const auto open_nothing = [&tried] {
    ++tried;
    return Fd(::open("/nowhere/at/all", O_RDONLY | O_CLOEXEC));
  };
  CHECK_FALSE(open_for_operator(open_nothing));
  CHECK(tried == 1);
}

TEST_CASE("the process and the system run out of descriptors, and nothing else does") {
  CHECK(out_of_descriptors(EMFILE));
  CHECK(out_of_descriptors(ENFILE));
  CHECK_FALSE(out_of_descriptors(ENOMEM));
  CHECK_FALSE(out_of_descriptors(0));
}

}  // namespace mc
