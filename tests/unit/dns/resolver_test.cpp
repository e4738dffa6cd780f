// SPDX-License-Identifier: Apache-2.0
#include "dns/resolver.hpp"

#include <fmt/format.h>
#include <sys/mman.h>

#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <string>
#include <vector>

#include "dns/limits.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "unit/dns/name_server.hpp"
#include "unit/dns/replies.hpp"

using namespace mc;
using namespace mc::dns;
using namespace mc::dns::testing;
using namespace std::chrono_literals;

namespace {

/// A resolver, its log, and what it reports.
class Resolving {
 public:
  explicit Resolving(Settings settings) {
    auto started = Resolver::start(
        {.settings = std::move(settings),
         .log = log_,
         .on_answer = [this](const std::string& name,
                             const Answer& answer) { add({name, answer.addresses, ""}); },
         .on_failure = [this](const std::string& name,
                              const Failure& failure) { add({name, {}, failure.why}); }});
    REQUIRE(started.has_value());
    resolver_ = *std::move(started);
  }

  struct Report {
    std::string name;
    std::vector<IpAddress> addresses;  // empty: a failure
    std::string why;
  };

  Resolver* operator->() { return resolver_.get(); }
  void end() { resolver_.reset(); }
  /// The report with that number, from 0; waits for it.
  Report report(std::size_t number) {
    std::unique_lock lock(mutex_);
    REQUIRE(changed_.wait_for(lock, kPatience, [&] { return reports_.size() > number; }));
    return reports_[number];
  }
  [[nodiscard]] std::size_t reports() {
    const std::lock_guard lock(mutex_);
    return reports_.size();
  }
  [[nodiscard]] std::string logged() {
    log_.flush();
    std::string text(static_cast<std::size_t>(::lseek(log_file_.get(), 0, SEEK_END)), '\0');
    REQUIRE(::pread(log_file_.get(), text.data(), text.size(), 0) ==
            static_cast<ssize_t>(text.size()));
    return text;
  }

 private:
  void add(Report report) {
    const std::lock_guard lock(mutex_);
    reports_.push_back(std::move(report));
    changed_.notify_all();
  }

  Fd log_file_{::memfd_create("log", MFD_CLOEXEC)};
  Log log_{{.priorities = LogPriorities::kNever, .fd = log_file_.get()}};
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Report> reports_;
  std::unique_ptr<Resolver> resolver_;
};

/// Of this server alone. Answers are refreshed quickly.
Settings quick(const NameServer& server, Family family = Family::kAny) {
  return {.servers = {server.address()}, .ttl_min = 20ms, .ttl_max = 20ms, .family = family};
}

Settings slow(const NameServer& server, Family family = Family::kAny) {
  return {.servers = {server.address()}, .family = family};
}

}  // namespace

TEST_CASE("a name resolves to its addresses of both families, sorted") {
  NameServer server;
  server.set("app.internal", {.addresses = ips({"2001:db8::1", "10.0.0.2", "10.0.0.1"}), .ttl = 7});
  Resolving resolving(slow(server));
  resolving->set_names({"app.internal"});
  const auto report = resolving.report(0);
  CHECK(report.name == "app.internal");
  CHECK(report.addresses == ips({"10.0.0.1", "10.0.0.2", "2001:db8::1"}));
  const auto status = resolving->status();
  REQUIRE(status.size() == 1);
  CHECK(status[0].addresses == 3);
  CHECK(status[0].ttl == 7s);
  CHECK(status[0].failure.empty());
  CHECK(resolving->queries() == 1);
  CHECK(resolving->answers() == 1);
  CHECK(resolving->failures() == 0);
}

TEST_CASE("a name with addresses of one family resolves") {
  NameServer server;
  server.set("four.internal", {.addresses = ips({"10.0.0.1"})});
  server.set("six.internal", {.addresses = ips({"2001:db8::1"})});
  Resolving four(slow(server)), six(slow(server));
  four->set_names({"four.internal"});
  CHECK(four.report(0).addresses == ips({"10.0.0.1"}));
  six->set_names({"six.internal"});
  CHECK(six.report(0).addresses == ips({"2001:db8::1"}));
}

TEST_CASE("with a family set, only its addresses are asked for") {
  NameServer server;
  server.set("app.internal", {.addresses = ips({"10.0.0.1", "2001:db8::1"})});
  Resolving four(slow(server, Family::kIpv4)), six(slow(server, Family::kIpv6));
  four->set_names({"app.internal"});
  CHECK(four.report(0).addresses == ips({"10.0.0.1"}));
  CHECK(server.asked("app.internal", kTypeAaaa) == 0);
  six->set_names({"app.internal"});
  CHECK(six.report(0).addresses == ips({"2001:db8::1"}));
  CHECK(server.asked("app.internal", kTypeA) == 1);
}

TEST_CASE("the TTL of an alias counts, too") {
  NameServer server;
  server.set(
      "app.internal",
      {.addresses = ips({"10.0.0.1"}), .ttl = 60, .alias_of = "real.example", .alias_ttl = 9});
  Resolving resolving(slow(server));
  resolving->set_names({"app.internal"});
  CHECK(resolving.report(0).addresses == ips({"10.0.0.1"}));
  CHECK(resolving->status()[0].ttl == 9s);
}

TEST_CASE("answers are refreshed, and reported only if they differ") {
  NameServer server;
  server.set("app.internal", {.addresses = ips({"10.0.0.1", "10.0.0.2"}), .ttl = 0});
  Resolving resolving(quick(server));
  resolving->set_names({"app.internal"});
  CHECK(resolving.report(0).addresses == ips({"10.0.0.1", "10.0.0.2"}));
  server.set("app.internal", {.addresses = ips({"10.0.0.2", "10.0.0.1"}), .ttl = 0});
  server.until_asked("app.internal", server.asked("app.internal") + 3);
  CHECK(resolving.reports() == 1);
  server.set("app.internal", {.addresses = ips({"10.0.0.3"}), .ttl = 0});
  CHECK(resolving.report(1).addresses == ips({"10.0.0.3"}));
}

TEST_CASE("each kind of failure has its words, and ends with the next answer") {
  NameServer server;
  std::string words;
  Host failing;
  SECTION("a server that fails") {
    words = "SERVFAIL";
    failing.rcode = Rcode::kServFail;
  }
  SECTION("a server that refuses") {
    words = "REFUSED";
    failing.rcode = Rcode::kRefused;
  }
  SECTION("a name that does not exist") {
    words = "no such name";
    failing.rcode = Rcode::kNxDomain;
  }
  SECTION("a name without addresses") { words = "no address"; }
  SECTION("a name with addresses that nothing can connect to") {
    words = "no address";
    failing.addresses = ips({"0.0.0.0", "::"});
  }
  server.set("app.internal", {.addresses = ips({"10.0.0.1"})});
  Resolving resolving(quick(server));
  resolving->set_names({"app.internal"});
  CHECK_FALSE(resolving.report(0).addresses.empty());
  server.set("app.internal", failing);
  CHECK(resolving.report(1).why == words);
  const auto status = resolving->status();
  CHECK(status[0].failure == words);
  CHECK(status[0].addresses == 1);
  CHECK(resolving->failures() >= 1);
  server.set("app.internal", {.addresses = ips({"10.0.0.1"})});
  CHECK(resolving.report(2).addresses == ips({"10.0.0.1"}));
  CHECK(resolving->status()[0].failure.empty());
  CHECK(resolving.logged().contains("level=WARN msg=\"name does not resolve\" name=app.internal"));
}

TEST_CASE("a family whose questions fail keeps its addresses") {
  NameServer server;
  server.set("app.internal", {.addresses = ips({"10.0.0.1", "2001:db8::1"})});
  Resolving resolving(quick(server));
  resolving->set_names({"app.internal"});
  CHECK(resolving.report(0).addresses == ips({"10.0.0.1", "2001:db8::1"}));
  server.set("app.internal", {.addresses = ips({"10.0.0.2"}), .rcode_aaaa = Rcode::kServFail});
  CHECK(resolving.report(1).addresses == ips({"10.0.0.2", "2001:db8::1"}));
  server.set("app.internal", {.addresses = ips({"10.0.0.2"})});
  CHECK(resolving.report(2).addresses == ips({"10.0.0.2"}));
}

TEST_CASE("a reply too long for UDP comes over TCP, and the lowest addresses are used") {
  NameServer server;
  Host host;
  for (std::uint32_t i = 200; i > 0; --i) host.addresses.push_back(IpAddress::v4(0x0a000000 + i));
  server.set("many.internal", host);
  Resolving resolving(slow(server, Family::kIpv4));
  resolving->set_names({"many.internal"});
  const auto addresses = resolving.report(0).addresses;
  REQUIRE(addresses.size() == kAddressesMax);
  CHECK(addresses.front() == IpAddress::v4(0x0a000001));
  CHECK(addresses.back() == IpAddress::v4(0x0a000000 + kAddressesMax));
  CHECK(server.asked_over_tcp() == 1);
}

TEST_CASE("a name server that is away at the start is a failure until it is there") {
  const SocketAddress address = NameServer().address();
  Resolving resolving(Settings{.servers = {address}});
  resolving->set_names({"app.internal"});
  CHECK(resolving.report(0).why == "name server not reachable");
  NameServer server(address);
  server.set("app.internal", {.addresses = ips({"10.0.0.1"})});
  CHECK(resolving.report(1).addresses == ips({"10.0.0.1"}));
}

TEST_CASE("a name server that says nothing is a failure after some seconds") {
  NameServer server;
  server.set("app.internal", {.is_silent = true});
  Resolving resolving(slow(server, Family::kIpv4));
  resolving->set_names({"app.internal"});
  CHECK(resolving.report(0).why == "no reply");
  CHECK(server.asked("app.internal") >= kTries);
}

TEST_CASE("a reply that is slow, once, after quick ones is no failure") {
  NameServer server;
  server.set("app.internal", {.addresses = ips({"10.0.0.1"})});
  Resolving resolving(quick(server, Family::kIpv4));
  resolving->set_names({"app.internal"});
  server.until_asked("app.internal", 10);
  server.set("app.internal", {.addresses = ips({"10.0.0.2"}), .first_delay = 1'000ms});
  CHECK_FALSE(resolving.report(0).addresses.empty());
  CHECK(resolving.report(1).addresses == ips({"10.0.0.2"}));
}

TEST_CASE("of two name servers, the second answers if the first fails") {
  NameServer first, second;
  first.set("app.internal", {.rcode = Rcode::kServFail});
  second.set("app.internal", {.addresses = ips({"10.0.0.1"})});
  Resolving resolving(Settings{.servers = {first.address(), second.address()}});
  resolving->set_names({"app.internal"});
  CHECK(resolving.report(0).addresses == ips({"10.0.0.1"}));
}

TEST_CASE("more names than may be asked for at one time all resolve") {
  NameServer server;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < 3 * kUnderWayMax; ++i) {
    names.push_back(fmt::format("app{}.internal", i));
    server.set(names.back(), {.addresses = ips({"10.0.0.1"})});
  }
  Resolving resolving(slow(server));
  resolving->set_names(names);
  resolving.report(names.size() - 1);
  CHECK(resolving->answers() == names.size());
  CHECK(resolving->queries() == names.size());
}

TEST_CASE("the end does not wait for name servers") {
  NameServer server;
  server.set("app.internal", {.is_silent = true});
  Resolving resolving(slow(server));
  resolving->set_names({"app.internal"});
  server.until_asked("app.internal", 1);
  const auto begin = std::chrono::steady_clock::now();
  resolving.end();
  CHECK(std::chrono::steady_clock::now() - begin < kReplyTimeout / 2);
  CHECK(resolving.reports() == 0);
}

TEST_CASE("localhost names are this machine, and no name server is asked") {
  NameServer server;
  Resolving resolving(slow(server));
  resolving->set_names({"app.localhost"});
  CHECK(resolving.report(0).addresses == ips({"::1", "127.0.0.1"}));
  resolving->set_names({"localhost"});
  for (const IpAddress& address : resolving.report(1).addresses) CHECK(address.is_loopback());
  CHECK(server.asked("localhost") == 0);
  CHECK(server.asked("app.localhost") == 0);
}

TEST_CASE("search domains are for names without a dot") {
  NameServer server;
  const test::TempDir directory;
  const std::string path = directory.file("resolv.conf");
  test::write_file(path, "search corp.example other.example\n");
  server.set("app.corp.example", {.addresses = ips({"10.0.0.1"})});
  server.set("app.other.example", {.addresses = ips({"2001:db8::1"})});  // of another machine
  Settings settings = slow(server);
  settings.resolv_conf = path;
  Resolving resolving(settings);
  resolving->set_names({"app"});
  CHECK(resolving.report(0).addresses == ips({"10.0.0.1"}));
  resolving->set_names({"app.internal"});
  CHECK(resolving.report(1).why == "no such name");
  CHECK(server.asked("app.internal") > 0);
  CHECK(server.asked("app.internal.corp.example") == 0);
}

TEST_CASE("a resolv.conf that is replaced is followed") {
  const SocketAddress address = *SocketAddress::parse("127.0.77.1:53");
  if (::geteuid() != 0) MC_SKIP("port 53 is root's, and resolv.conf names no port");
  const test::TempDir directory;
  const std::string path = directory.file("resolv.conf");
  test::write_file(path, "nameserver 127.0.77.2\n");
  NameServer server(address);
  server.set("app.internal", {.addresses = ips({"10.0.0.1"})});
  Resolving resolving(Settings{.resolv_conf = path});
  resolving->set_names({"app.internal"});
  CHECK(resolving.report(0).why == "name server not reachable");
  test::write_file(path + ".new", "nameserver 127.0.77.1\n");
  std::filesystem::rename(path + ".new", path);
  CHECK(resolving.report(1).addresses == ips({"10.0.0.1"}));
  CHECK(resolving.logged().contains("resolv.conf has changed"));
}
