// SPDX-License-Identifier: Apache-2.0
#include "base/quote.hpp"

#include <string>
#include <string_view>

#include "support/catch.hpp"

namespace {

std::string log_value(std::string_view text) {
  std::string out;
  mc::append_log_value(out, text);
  return out;
}

std::string json(std::string_view text) {
  std::string out;
  mc::append_json_string(out, text);
  return out;
}

}  // namespace

TEST_CASE("A log value is bare when that is unambiguous") {
  CHECK(log_value("app.example.com") == "app.example.com");
  CHECK(log_value("[::1]:443") == "[::1]:443");
  CHECK(log_value(R"(C:\path)") == R"(C:\path)");
  CHECK(log_value("zürich.例え") == "zürich.例え");
}

TEST_CASE("A log value is quoted when a reader could mistake it") {
  CHECK(log_value("") == R"("")");
  CHECK(log_value("two words") == R"("two words")");
  CHECK(log_value("a=b") == R"("a=b")");
  CHECK(log_value("say \"hi\"") == R"("say \"hi\"")");
  CHECK(log_value("back\\slash here") == R"("back\\slash here")");
}

TEST_CASE("Bytes that do not print are escaped") {
  CHECK(log_value("a\nb\r\t") == R"("a\nb\r\t")");
  CHECK(log_value("\a\b\f\v") == R"("\a\b\f\v")");
  CHECK(log_value(std::string_view("a\0b", 3)) == R"("a\x00b")");
  CHECK(log_value("\x1b[2J\x7f") == R"("\x1b[2J\x7f")");
  CHECK(log_value("\u0085") == R"("\u0085")");  // next line, to some readers of logs
  CHECK(log_value("\u2028") == R"("\u2028")");
  CHECK(log_value("a\u00a0b") == R"("a\u00a0b")");
  CHECK(log_value("\u202egpj.exe") == R"("\u202egpj.exe")");  // right-to-left override
  CHECK(log_value("\U000e0041") == R"("\U000e0041")");
}

TEST_CASE("Bytes that are no UTF-8 are shown as bytes") {
  CHECK(log_value("\xff") == R"("\xff")");
  CHECK(log_value("a\xc3") == R"("a\xc3")");                        // cut short
  CHECK(log_value("\xc0\x8a") == R"("\xc0\x8a")");                  // overlong newline
  CHECK(log_value("\xe0\x80\x8a") == R"("\xe0\x80\x8a")");          // the same in three bytes
  CHECK(log_value("\xed\xa0\x80") == R"("\xed\xa0\x80")");          // surrogate
  CHECK(log_value("\xf4\x90\x80\x80") == R"("\xf4\x90\x80\x80")");  // beyond U+10FFFF
}

TEST_CASE("JSON strings are valid whatever the bytes") {
  CHECK(json("plain ü") == R"("plain ü")");
  CHECK(json("\"\\/") == R"("\"\\/")");
  CHECK(json("\n\x01\x7f") == R"("\u000a\u0001\u007f")");
  CHECK(json("a\xff\xc3") == R"("a\ufffd\ufffd")");
  CHECK(json("\u2028") == R"("\u2028")");
  CHECK(json("😀") == R"("😀")");
}

TEST_CASE("A text quoted in a message is cut when it is long, but not inside a character") {
  CHECK(mc::quote("short") == R"("short")");
  const std::string long_text = std::string(mc::kQuotedBytesMax - 1, 'a') + "ü" + "rest";
  CHECK(mc::quote(long_text) == '"' + std::string(mc::kQuotedBytesMax - 1, 'a') + "...\"");
  CHECK(mc::utf8_prefix("aü", 2) == "a");
  CHECK(mc::utf8_prefix("aü", 3) == "aü");
  CHECK(mc::utf8_prefix("\x80\x80\x80\x80\x80", 4).size() == 4);
}
