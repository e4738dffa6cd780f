// SPDX-License-Identifier: Apache-2.0
#include "cli/pool_client.hpp"

#include <string>
#include <vector>

#include "cli/commands.hpp"
#include "support/catch.hpp"

namespace mc::cli {
namespace {

namespace api = mc_proxy::v1;

// The exit code of the real commands with these words. None of them gets as far as a server.
int run(std::vector<std::string> words) {
  CommandLine line;
  add_routes(line);
  add_pools(line);
  add_backends(line);
  words.insert(words.begin(), "mc-proxy");
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  return line.run(static_cast<int>(arguments.size()), arguments.data());
}

}  // namespace

TEST_CASE("a field of a change has the name that the command line has for it") {
  api::Change change;
  change.mutable_add_pool()->add_backends()->set_address("10.0.0.1:443");
  const auto name = [&change](const char* field) { return name_of_field(field, change); };
  CHECK(name("changes[0].add_pool.retries") == "--retries");
  CHECK(name("changes[0].add_pool.dial_budget") == "--dial-budget");
  CHECK(name("changes[0].add_pool.check.fast_interval") == "--check-fast-interval");
  CHECK(name("changes[0].add_pool.check.kind") == "--check");
  CHECK(name("changes[0].add_pool.send_proxy") == "--send-proxy");
  CHECK(name("changes[0].add_pool.send_proxy_tlvs") == "--send-proxy-tlv");
  CHECK(name("changes[0].add_pool.send_proxy_tlvs[1]") == "--send-proxy-tlv");
  CHECK(name("changes[0].add_pool.name") == "name");
  CHECK(name("changes[0].add_pool.backends") == "backends");
  CHECK(name("changes[0].add_pool.backends[0].address") == "address");
  CHECK(name("changes[0].add_pool.backends[0].weight") == "weight of 10.0.0.1:443");
  change.mutable_put_backend();
  CHECK(name("changes[0].put_backend.backend.max_connections") == "--max-connections");
  CHECK(name("changes[0].put_backend.backend.address") == "address");
  CHECK(name("changes[0].put_backend.pool") == "pool");
}

TEST_CASE("a route's target is a backend or a pool") {
  api::Route route;
  route.set_backend("10.0.0.1:443");
  CHECK(policy::target_of(text_of(route)) == "10.0.0.1:443");
  route.clear_backend();
  route.set_pool("app");
  CHECK(policy::target_of(text_of(route)) == "pool=app");
}

TEST_CASE("how long a backend has its health is not negative, whatever the clocks show") {
  const std::chrono::system_clock::time_point now(std::chrono::seconds(1'000));
  api::BackendStatus backend;
  CHECK(time_since(backend, now).empty());
  backend.mutable_since()->set_seconds(808);
  CHECK(time_since(backend, now) == "3m12s");
  backend.mutable_since()->set_seconds(2'000);
  CHECK(time_since(backend, now) == "0s");
}

TEST_CASE("a change of nothing is refused before a server is called") {
  CHECK(run({"pools", "set", "app"}) == kUsage);
  CHECK(run({"backends", "set", "app", "10.0.0.1:443"}) == kUsage);
  CHECK(run({"backends", "set", "app", "10.0.0.1:443", "--close-sessions"}) == kUsage);
}

TEST_CASE("a route leads to one backend or to one pool") {
  CHECK(run({"routes", "add", "app.example.com"}) == kUsage);
  CHECK(run({"routes", "add", "app.example.com", "10.0.0.1:443", "--pool", "app"}) == kUsage);
}

TEST_CASE("words that no pool or backend has are refused") {
  CHECK(run({"pools", "add", "app"}) == kUsage);
  CHECK(run({"pools", "add", "app", "10.0.0.1:443", "--balance", "random"}) == kUsage);
  CHECK(run({"pools", "add", "app", "10.0.0.1:443", "--dial-budget", "8"}) == kUsage);
  CHECK(run({"pools", "add", "app", "10.0.0.1:443", "--retries", "9"}) == kUsage);
  CHECK(run({"pools", "set", "app", "--hash-prefix-v4", "0"}) == kUsage);
  CHECK(run({"backends", "set", "app", "10.0.0.1:443", "--state", "down"}) == kUsage);
  CHECK(run({"backends", "add", "app", "10.0.0.1:443", "--weight", "1001"}) == kUsage);
  CHECK(run({"backends", "set", "app", "10.0.0.1:443", "--state", "drain", "--close-sessions",
             "--dry-run"}) == kUsage);
}

}  // namespace mc::cli
