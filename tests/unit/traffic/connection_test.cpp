// SPDX-License-Identifier: Apache-2.0
#include "traffic/connection.hpp"

#include <string>

#include "support/catch.hpp"

namespace mc::traffic {

TEST_CASE("a connection's id is read as it is written, and in no other way") {
  const ConnectionId id{.worker = 3, .number = 18'446'744'073'709'551'615U};
  CHECK(id.to_string() == "3-18446744073709551615");
  CHECK(ConnectionId::parse(id.to_string()) == id);
  CHECK(ConnectionId::parse("0-1") == ConnectionId{.worker = 0, .number = 1});
  for (const char* const wrong :
       {"", "-", "1", "1-", "-1", "1-2-3", "1--2", "+1-2", "01-2", "1-02", " 1-2", "1-2 ", "a-b",
        "4294967296-1", "1-18446744073709551616"}) {
    CAPTURE(wrong);
    CHECK_FALSE(ConnectionId::parse(wrong).has_value());
  }
}

}  // namespace mc::traffic
