// SPDX-License-Identifier: Apache-2.0
#include "policy/pool.hpp"

#include <string>
#include <vector>

#include "policy/limits.hpp"
#include "support/catch.hpp"
#include "unit/policy/pools.hpp"

namespace mc::policy {
namespace {

using namespace std::chrono_literals;

PoolText valid() {
  return {.name = "app",
          .settings = {},
          .backends = {{.address = "10.0.0.1:443"}, {.address = "[2001:db8::1]:443"}}};
}

std::vector<PoolError> errors_of(const PoolText& text) {
  const auto pool = parse_pool(text);
  return pool.has_value() ? std::vector<PoolError>() : pool.error();
}

TEST_CASE("a pool's text and its value are the same") {
  const auto pool = parse_pool(valid());
  REQUIRE(pool.has_value());
  CHECK(to_text(*pool) == valid());
  CHECK(find_backend(*pool, pool->backends[1].address) == 1);
  CHECK(find_backend(*pool, backend_address(7)) == std::nullopt);
}

TEST_CASE("a check's name is sent in lower case and without a dot at the end, as clients do") {
  PoolText text = valid();
  text.settings.check = {.kind = CheckKind::kTls, .name = "App.Example.COM."};
  const auto pool = parse_pool(text);
  REQUIRE(pool.has_value());
  CHECK(pool->settings.check.name == "app.example.com");
}

TEST_CASE("a pool's name is one that needs no quoting") {
  for (const char* const name : {"app", "a", "App-1_x.y", "0"}) {
    CAPTURE(name);
    CHECK(parse_pool_name(name).has_value());
  }
  for (const std::string& name :
       {std::string(), std::string("-app"), std::string("a b"), std::string("a/b"),
        std::string("a=b"), std::string("\xc3\xa4"), std::string(kPoolNameBytesMax + 1, 'a')}) {
    CAPTURE(name);
    const auto parsed = parse_pool_name(name);
    REQUIRE_FALSE(parsed.has_value());
    CHECK(parsed.error().message.contains("not a pool's name"));
  }
}

TEST_CASE("each value out of its range is an error that names the field and the range") {
  PoolText text = valid();
  text.settings = {
      .hash_prefix_v4 = 33,
      .hash_prefix_v6 = 0,
      .retries = 9,
      .dial_budget = 0ms,
      .slow_start = -1ms,
      .check = {.interval = 1ms, .fast_interval = 1ms, .timeout = 0ms, .rise = 0, .fall = 101}};
  text.backends[1].weight = 1001;
  text.backends[1].max_connections = -1;
  std::vector<std::string> fields;
  for (const PoolError& error : errors_of(text)) {
    CAPTURE(error.field);
    CHECK(describe(error).contains(" is out of range; write "));
    fields.emplace_back(error.field);
    CHECK(error.backend.has_value() ==
          (error.field == "weight" || error.field == "max_connections"));
  }
  CHECK(fields == std::vector<std::string>{"hash_prefix_v4", "hash_prefix_v6", "retries",
                                           "dial_budget", "slow_start", "check.interval",
                                           "check.fast_interval", "check.timeout", "check.rise",
                                           "check.fall", "weight", "max_connections"});
}

TEST_CASE("a pool has backends, each once, and not too many") {
  PoolText none = valid();
  none.backends.clear();
  REQUIRE(errors_of(none).size() == 1);
  CHECK(errors_of(none)[0].message.contains("at least one backend"));

  PoolText twice = valid();
  twice.backends.push_back({.address = "[2001:DB8:0::1]:443"});
  REQUIRE(errors_of(twice).size() == 1);
  CHECK(errors_of(twice)[0].backend == 2);
  CHECK(errors_of(twice)[0].message.contains("the same address as backends[1]"));

  CHECK(errors_of(to_text(pool_of_size(kPoolBackendsMax))).empty());
  const auto many = errors_of(to_text(pool_of_size(kPoolBackendsMax + 1)));
  REQUIRE(many.size() == 1);
  CHECK(many[0].message.contains("at most 1024"));
}

TEST_CASE("a backend's address is checked as that of a route") {
  PoolText text = valid();
  text.backends[0].address = "10.0.0.1";
  const auto errors = errors_of(text);
  REQUIRE(errors.size() == 1);
  CHECK(errors[0].field == "address");
  CHECK(errors[0].backend == 0);
}

TEST_CASE("a TLS check needs one name") {
  PoolText text = valid();
  text.settings.check = {.kind = CheckKind::kTls};
  REQUIRE(errors_of(text).size() == 1);
  CHECK(errors_of(text)[0].field == "check.name");
  text.settings.check.name = "*.example.com";
  REQUIRE(errors_of(text).size() == 1);
  CHECK(errors_of(text)[0].message.contains("without a wildcard"));
  text.settings.check.name = "app.example.com";
  CHECK(errors_of(text).empty());
}

TEST_CASE("every value of an enumeration has a word") {
  CHECK(word_of(Balance::kHashName, kBalanceWords) == "hash_name");
  CHECK(meant_by("least_connections", kBalanceWords) == Balance::kLeastConnections);
  CHECK(meant_by("nothing", kBalanceWords) == std::nullopt);
  CHECK(word_of(AdminState::kMaintenance, kAdminStateWords) == "maintenance");
}

TEST_CASE("a backend is an address, a Unix socket or a name") {
  for (const char* const text : {"10.0.0.1:443", "[2001:db8::1]:443", "unix:/run/app.sock",
                                 "app.internal:443", "localhost:443", "a_b.internal:443"}) {
    CAPTURE(text);
    const auto address = parse_pool_address(text);
    REQUIRE(address.has_value());
    CHECK(address->to_string() == text);
  }
  CHECK(parse_pool_address("App.Internal.:443")->to_string() == "app.internal:443");
}

TEST_CASE("a name that DNS cannot have is an error that says why, and how to write one") {
  const auto error_of = [](const char* text) { return parse_pool_address(text).error().message; };
  CHECK(error_of("a..b:443") ==
        R"("a..b:443": not a host name: a label is empty; write one like "app.internal:443")");
  CHECK(error_of("app.1:443").contains("its last label is a number"));
  CHECK(error_of("unix:run/app.sock").contains("begins with"));
  for (const char* const text : {"app.internal", "app.internal:", "app.internal:70000"}) {
    CHECK(
        error_of(text).contains("a name needs a port from 1 to 65535; write \"app.internal:443\""));
  }
  CHECK(error_of("0.0.0.0:443").contains("no address to connect to"));
}

TEST_CASE("TLVs are words, and only a header of version 2 has them") {
  const ProxyTlvs some{.authority = true, .crc32c = true};
  CHECK(to_string(some) == "authority crc32c");
  CHECK(parse_proxy_tlvs("authority crc32c") == some);
  CHECK(parse_proxy_tlvs("") == ProxyTlvs());
  CHECK(parse_proxy_tlvs("authority ssl") == std::nullopt);

  PoolText text = valid();
  text.settings.send_proxy_tlvs = some;
  text.settings.send_proxy = SendProxy::kV2;
  CHECK(errors_of(text).empty());
  for (const SendProxy other : {SendProxy::kNone, SendProxy::kV1}) {
    text.settings.send_proxy = other;
    const auto errors = errors_of(text);
    REQUIRE(errors.size() == 1);
    CHECK(errors[0].field == "send_proxy_tlvs");
  }
}

}  // namespace
}  // namespace mc::policy
