// SPDX-License-Identifier: Apache-2.0
#include "base/spelling.hpp"

#include <array>
#include <string>
#include <string_view>

#include "support/catch.hpp"

namespace mc {
namespace {

constexpr std::array<std::string_view, 5> kKnown = {"status", "server", "routes", "warn",
                                                    "idle_timeout"};

}  // namespace

TEST_CASE("a slip is recognised: a letter wrong, missing, too many, or two swapped") {
  CHECK(closest("stetus", kKnown) == "status");
  CHECK(closest("sever", kKnown) == "server");
  CHECK(closest("rooutes", kKnown) == "routes");
  CHECK(closest("sttaus", kKnown) == "status");
  CHECK(closest("idel_timeout", kKnown) == "idle_timeout");
}

TEST_CASE("a word that goes on, or stops early, is meant") {
  CHECK(closest("warning", kKnown) == "warn");
  CHECK(closest("stat", kKnown) == "status");
}

TEST_CASE("what is like none is not guessed") {
  CHECK(closest("", kKnown).empty());
  CHECK(closest("x", kKnown).empty());
  CHECK(closest("firewall", kKnown).empty());
  CHECK(closest(std::string(100, 's'), kKnown).empty());
  CHECK(closest("status", {}).empty());
}

}  // namespace mc
