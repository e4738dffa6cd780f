// SPDX-License-Identifier: Apache-2.0
#include "base/json.hpp"

#include <cstdint>
#include <limits>
#include <string>

#include "support/catch.hpp"

using mc::JsonWriter;

TEST_CASE("an object has its members in their order, in one line") {
  JsonWriter json;
  json.begin_object().member("path", std::string("/srv/a.db")).member("size", 12).key("removed");
  json.begin_array().value("a").value("b").end();
  json.member("good", true).end();
  CHECK(json.text() == R"({"path": "/srv/a.db", "size": 12, "removed": ["a", "b"], "good": true})");
}

TEST_CASE("keys and texts are escaped") {
  JsonWriter json;
  json.begin_object().member("a\"b", "line\nbreak \\ \xff").end();
  CHECK(json.text() == R"({"a\"b": "line\u000abreak \\ \ufffd"})");
}

TEST_CASE("numbers and booleans are written whole") {
  JsonWriter json;
  json.begin_array()
      .value(std::numeric_limits<std::uint64_t>::max())
      .value(std::numeric_limits<std::int64_t>::min())
      .value(false)
      .end();
  CHECK(json.text() == "[18446744073709551615, -9223372036854775808, false]");
}

TEST_CASE("items may stand in lines of their own, one column further in than what holds them") {
  JsonWriter json;
  json.begin_object(JsonWriter::Layout::kLines).member("good", false).key("findings");
  json.begin_array(JsonWriter::Layout::kLines);
  json.begin_object().member("a", 1).member("b", 2).end();
  json.begin_object().member("a", 3).end();
  json.end().end();
  CHECK(json.text() ==
        "{\n \"good\": false,\n \"findings\": [\n  {\"a\": 1, \"b\": 2},\n  {\"a\": 3}\n ]\n}");
}

TEST_CASE("what is empty is valid") {
  JsonWriter json;
  json.begin_array().begin_object().end().begin_array().end();
  json.begin_array(JsonWriter::Layout::kLines).end().end();
  CHECK(json.text() == "[{}, [], [\n ]]");
}
