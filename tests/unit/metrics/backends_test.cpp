// SPDX-License-Identifier: Apache-2.0
#include "metrics/backends.hpp"

#include <prometheus/text_serializer.h>

#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "policy/route.hpp"
#include "support/catch.hpp"

namespace mc::metrics {
namespace {

const Instant kNow{std::chrono::hours(1)};

std::shared_ptr<const policy::LivePool> pool(const std::string& name,
                                             const std::vector<std::string>& addresses) {
  policy::Pool spec{.name = name, .settings = {}, .backends = {}};
  for (const std::string& address : addresses) {
    spec.backends.push_back({.address = policy::parse_backend(address).value()});
  }
  return std::make_shared<const policy::LivePool>(std::move(spec), policy::ResolvedNames(), nullptr,
                                                  kNow);
}

std::string text(const policy::LivePools& pools, std::size_t most = 100) {
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, collect_backends(pools, kNow, most));
  return out.str();
}

TEST_CASE("each backend of a pool has its counters, its weight and its state") {
  const auto app = pool("app", {"10.0.0.1:443"});
  policy::ConnectionCounts& counts = app->backends()[0].state->counts;
  counts.connections = 7;
  counts.active = 2;
  counts.dial_failures = 3;
  counts.bytes_up = 10;
  counts.bytes_down = 20;
  const std::string told = text({{"app", app}});
  const std::string who = R"({pool="app",backend="10.0.0.1:443")";
  CHECK(told.contains("mc_proxy_backend_up" + who + "} 1\n"));
  CHECK(told.contains("mc_proxy_backend_connections_active" + who + "} 2\n"));
  CHECK(told.contains("mc_proxy_backend_connections_total" + who + "} 7\n"));
  CHECK(told.contains("mc_proxy_backend_dial_failures_total" + who + "} 3\n"));
  CHECK(told.contains("mc_proxy_backend_bytes_total" + who + R"(,direction="up"} 10)"));
  CHECK(told.contains("mc_proxy_backend_bytes_total" + who + R"(,direction="down"} 20)"));
  CHECK(told.contains("mc_proxy_backend_weight" + who + "} 100\n"));
  CHECK(told.contains("mc_proxy_backend_state" + who + R"(,state="ready"} 1)"));
  CHECK(told.contains("mc_proxy_backend_state" + who + R"(,state="drain"} 0)"));
}

TEST_CASE("a backend that is down, ejected or not ready is not up") {
  const auto up = [](const std::shared_ptr<const policy::LivePool>& app) {
    return text({{"app", app}})
        .contains(R"(mc_proxy_backend_up{pool="app",backend="10.0.0.1:443"} 1)");
  };
  const auto app = pool("app", {"10.0.0.1:443"});
  app->backends()[0].state->set_health(policy::Health::kDown, "Connection refused", kNow);
  CHECK_FALSE(up(app));
  app->backends()[0].state->set_health(policy::Health::kUp, "connected", kNow);
  CHECK(up(app));
  app->backends()[0].state->eject("Connection refused", kNow);
  CHECK_FALSE(up(app));
  policy::Pool drained = pool("app", {"10.0.0.1:443"})->spec();
  drained.backends[0].state = policy::AdminState::kDrain;
  CHECK_FALSE(up(
      std::make_shared<const policy::LivePool>(drained, policy::ResolvedNames(), nullptr, kNow)));
}

TEST_CASE("beyond the limit, the last backends by the names of their pools have no metrics") {
  const policy::LivePools pools{{"b", pool("b", {"10.0.0.3:443"})},
                                {"a", pool("a", {"10.0.0.1:443", "10.0.0.2:443"})}};
  const std::string told = text(pools, 2);
  CHECK(told.contains("10.0.0.1:443"));
  CHECK(told.contains("10.0.0.2:443"));
  CHECK_FALSE(told.contains("10.0.0.3:443"));
  CHECK(told.contains("mc_proxy_backends_without_metrics 1\n"));
  CHECK(text(pools).contains("mc_proxy_backends_without_metrics 0\n"));
}

TEST_CASE("without pools there are no empty families") {
  CHECK_FALSE(text({}).contains("mc_proxy_backend_up"));
}

}  // namespace
}  // namespace mc::metrics
