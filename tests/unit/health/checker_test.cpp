// SPDX-License-Identifier: Apache-2.0
#include "health/checker.hpp"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/files.hpp"
#include "unit/health/backend.hpp"
#include "unit/health/pools.hpp"

using namespace mc;
using namespace mc::health;
using namespace mc::health::testing;
using namespace std::chrono_literals;
using tls::testing::handshake;
using tls::testing::kHandshakeRecord;
using tls::testing::record;

namespace {

constexpr std::chrono::seconds kPatience{20};

template <class Condition>
void until(Condition&& condition) {
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    REQUIRE(std::chrono::steady_clock::now() < give_up);
    std::this_thread::sleep_for(1ms);
  }
}

// A checker, its log, and the changes that it reports.
class Checked {
 public:
  explicit Checked(const std::vector<policy::Pool>& pools, LogLevel level = LogLevel::kInfo)
      : pools_(live(pools)) {
    log_.set_level(level);
    auto started = Checker::start({.log = log_, .on_change = [this](const Change& change) {
                                     const std::lock_guard lock(mutex_);
                                     changes_.push_back(change);
                                   }});
    REQUIRE(started.has_value());
    checker_ = *std::move(started);
    checker_->set_pools(pools_);
  }

  Checker& operator*() { return *checker_; }
  Checker* operator->() { return checker_.get(); }
  [[nodiscard]] policy::BackendState& state(const std::string& pool,
                                            std::size_t backend = 0) const {
    return state_of(*pools_, pool, backend);
  }
  [[nodiscard]] std::string why(const std::string& pool) const {
    return state(pool).shown(Clock::now()).why;
  }
  void set_pools(const std::vector<policy::Pool>& pools) {
    pools_ = live(pools, pools_.get());
    checker_->set_pools(pools_);
  }
  void end() { checker_.reset(); }
  [[nodiscard]] std::vector<Change> changes() {
    const std::lock_guard lock(mutex_);
    return changes_;
  }
  /// How often the log has this text.
  [[nodiscard]] std::size_t logged(std::string_view wanted) {
    log_.flush();
    std::string text(static_cast<std::size_t>(::lseek(log_file_.get(), 0, SEEK_END)), '\0');
    REQUIRE(::pread(log_file_.get(), text.data(), text.size(), 0) ==
            static_cast<ssize_t>(text.size()));
    std::size_t count = 0;
    for (auto at = text.find(wanted); at != text.npos; at = text.find(wanted, at + 1)) ++count;
    return count;
  }
  /// The reason for the health that the backend gets.
  [[nodiscard]] std::string becomes(const std::string& pool, Health health) const {
    until([&] { return state(pool).health() == health; });
    return why(pool);
  }

 private:
  Fd log_file_{::memfd_create("log", MFD_CLOEXEC)};
  Log log_{{.priorities = LogPriorities::kNever, .fd = log_file_.get()}};
  std::mutex mutex_;
  std::vector<Change> changes_;
  std::shared_ptr<const policy::LivePools> pools_;
  std::unique_ptr<Checker> checker_;
};

Bytes alert(std::uint8_t description) { return record({2, description}, 21, 0x0303); }
Bytes server_hello() { return record(handshake(Bytes(70, 3), 2), kHandshakeRecord, 0x0303); }

Health health_after(const Bytes& reply, std::string& why, ReplyingBackend::Then then) {
  const ReplyingBackend backend(reply, then);
  Checked checked({pool_of("app", quick_check(CheckKind::kTls), {backend.address()})});
  until([&] { return checked.state("app").health() != Health::kUnchecked; });
  why = checked.why("app");
  return checked.state("app").health();
}
std::string result_of(const Bytes& reply,
                      ReplyingBackend::Then then = ReplyingBackend::Then::kWait) {
  std::string why;
  const Health health = health_after(reply, why, then);
  return (health == Health::kUp ? "up: " : "down: ") + why;
}

}  // namespace

TEST_CASE("a backend that accepts is up, and one that refuses is down, from the first check on") {
  const SilentBackend accepting;
  const RefusingBackend refusing;
  Checked checked({pool_of("good", quick_check(CheckKind::kTcp), {accepting.address()}),
                   pool_of("bad", quick_check(CheckKind::kTcp), {refusing.address()})});
  CHECK(checked.becomes("good", Health::kUp) == "connected");
  CHECK(checked.becomes("bad", Health::kDown) == "Connection refused");
  until([&] { return checked.changes().size() == 2; });
  for (const Change& change : checked.changes()) {
    CHECK(change.before == Health::kUnchecked);
    CHECK(change.checks == 1);
  }
  CHECK(checked->targets() == 2);
  CHECK(checked->passed() > 0);
  CHECK(checked->failed() >= 1);
  CHECK(checked.logged("level=WARN msg=\"backend is down\" pool=bad backend=" +
                       refusing.address().to_string() +
                       " reason=\"Connection refused\" checks=1") == 1);
}

TEST_CASE(
    "a start with all backends down serves by trying, and each comes up after `rise` checks") {
  const RefusingBackend first, second;
  Checked checked(
      {pool_of("app", quick_check(CheckKind::kTcp), {first.address(), second.address()})});
  CHECK(checked.state("app", 0).is_alive(Clock::now()));
  until([&] { return checked.state("app", 0).health() == Health::kDown; });
  until([&] { return checked.state("app", 1).health() == Health::kDown; });
  first.listen();
  CHECK(checked.becomes("app", Health::kUp) == "connected");
  until([&] { return checked.changes().size() == 3; });
  const std::vector<Change> changes = checked.changes();
  CHECK(changes.back().before == Health::kDown);
  CHECK(changes.back().checks == 2);
  CHECK(checked.state("app", 1).health() == Health::kDown);
  CHECK(checked.logged("level=INFO msg=\"backend is up\" pool=app") == 1);
}

TEST_CASE("a backend that accepts and says nothing fails a TLS check at its timeout") {
  const SilentBackend silent;
  auto check = quick_check(CheckKind::kTls);
  check.timeout = 50ms;
  Checked checked({pool_of("app", check, {silent.address()})});
  CHECK(checked.becomes("app", Health::kDown) == "no reply within 50ms");
}

TEST_CASE("a server's reply decides a TLS check") {
  CHECK(result_of(server_hello()) == "up: ServerHello");
  CHECK(result_of(alert(112)) == "down: alert unrecognized_name");
  CHECK(result_of(alert(40)) == "up: alert handshake_failure (alive, but it refuses this hello)");
  CHECK(result_of(tls::testing::bytes("HTTP/1.1 400 Bad Request\r\n")) == "down: not TLS");
  CHECK(result_of({}, ReplyingBackend::Then::kClose) == "down: closed without a reply");
  CHECK(result_of({22, 3, 3}, ReplyingBackend::Then::kClose) == "down: not TLS");
}

TEST_CASE("a TLS check asks for the pool's name, and ends by RST") {
  const ReplyingBackend backend(server_hello());
  Checked checked({pool_of("app", quick_check(CheckKind::kTls), {backend.address()})});
  until([&] { return backend.resets() >= 3; });
  CHECK(backend.other_ends() == 0);
  tls::ClientHelloParser parser;
  CHECK(tls::testing::describe(parser.parse(backend.heard())) ==
        "app.example.com alpn= versions=0303/0304");
}

TEST_CASE("a backend that refuses the hello with an alert is reported once") {
  const ReplyingBackend backend(alert(40));
  Checked checked({pool_of("app", quick_check(CheckKind::kTls), {backend.address()})});
  until([&] { return checked->passed() >= 3; });
  CHECK(checked.logged("a backend refuses the hello of its check") == 1);
}

TEST_CASE("two pools with one target have one connection for both, and their own counts") {
  const ReplyingBackend backend({}, ReplyingBackend::Then::kClose);
  const auto check = quick_check(CheckKind::kTls);
  Checked checked(
      {pool_of("a", check, {backend.address()}), pool_of("b", check, {backend.address()})});
  until([&] { return checked.changes().size() == 2; });
  CHECK(checked->targets() == 1);
  checked->stop();
  until([&] { return static_cast<std::uint64_t>(backend.connections()) >= checked->failed(); });
  CHECK(static_cast<std::uint64_t>(backend.connections()) <= checked->failed() + 1);
}

TEST_CASE("a backend that is up goes down after `fall` failed checks, of each pool its own") {
  auto backend = std::make_optional<SilentBackend>();
  auto patient = quick_check(CheckKind::kTcp);
  auto hasty = patient;
  patient.fall = 10;
  hasty.fall = 2;
  Checked checked({pool_of("hasty", hasty, {backend->address()}),
                   pool_of("patient", patient, {backend->address()})});
  until([&] { return checked.changes().size() == 2; });
  CHECK(checked.state("patient").health() == Health::kUp);
  backend.reset();
  until([&] { return checked.changes().size() == 4; });
  const std::vector<Change> changes = checked.changes();
  CHECK(changes[2].pool->spec().name == "hasty");
  CHECK(changes[2].checks == 2);
  CHECK(changes[3].checks == 10);
}

TEST_CASE("a reply that is too late for one pool of a target is in time for another") {
  const ReplyingBackend slow(server_hello(), ReplyingBackend::Then::kWait, 30ms);
  auto hasty = quick_check(CheckKind::kTls);
  hasty.timeout = 10ms;
  Checked checked({pool_of("hasty", hasty, {slow.address()}),
                   pool_of("patient", quick_check(CheckKind::kTls), {slow.address()})});
  CHECK(checked.becomes("hasty", Health::kDown) == "no reply within 10ms");
  CHECK(checked.becomes("patient", Health::kUp) == "ServerHello");
}

TEST_CASE("maintenance and a pool without checks make a backend unchecked") {
  const RefusingBackend refusing;
  auto pool = pool_of("app", quick_check(CheckKind::kTcp), {refusing.address()});
  Checked checked({pool});
  until([&] { return checked.state("app").health() == Health::kDown; });
  pool.backends[0].state = policy::AdminState::kMaintenance;
  checked.set_pools({pool});
  CHECK(checked.becomes("app", Health::kUnchecked).empty());
  CHECK(checked->targets() == 0);
  pool.backends[0].state = policy::AdminState::kReady;
  checked.set_pools({pool});
  until([&] { return checked.state("app").health() == Health::kDown; });
  pool.settings.check.kind = CheckKind::kNone;
  checked.set_pools({pool});
  CHECK(checked.becomes("app", Health::kUnchecked).empty());
}

TEST_CASE("a pool that is removed during its check gets no result, and others go on") {
  const SilentBackend silent;
  const SilentBackend accepting;
  auto check = quick_check(CheckKind::kTls);
  check.interval = 1ms;
  const auto other = pool_of("other", quick_check(CheckKind::kTcp), {accepting.address()});
  Checked checked({pool_of("app", check, {silent.address()}), other});
  const auto pool = checked.becomes("other", Health::kUp);
  until([&] { return checked->passed() >= 2; });  // that of "app" is under way, for 5 s
  const auto before = checked->passed();
  const auto removed_at = std::chrono::steady_clock::now();
  checked.set_pools({other});
  until([&] { return checked->targets() == 1 && checked->passed() > before + 2; });
  CHECK(checked->failed() == 0);
  CHECK(checked.changes().size() == 1);
  CHECK(std::chrono::steady_clock::now() < removed_at + kPatience);
}

TEST_CASE("a checker that is stopped during a check ends at once") {
  const SilentBackend silent;
  auto check = quick_check(CheckKind::kTls);
  check.interval = 1ms;
  check.timeout = 100s;
  const SilentBackend accepting;
  Checked checked({pool_of("app", check, {silent.address()}),
                   pool_of("other", quick_check(CheckKind::kTcp), {accepting.address()})});
  until([&] { return checked->passed() >= 2; });
  const auto stopped_at = std::chrono::steady_clock::now();
  checked.end();
  CHECK(std::chrono::steady_clock::now() < stopped_at + kPatience);
  CHECK(checked.state("app").health() == Health::kUnchecked);
}

TEST_CASE("a stopped checker leaves every backend its health, and takes no pools") {
  const RefusingBackend refusing;
  const auto pool = pool_of("app", quick_check(CheckKind::kTcp), {refusing.address()});
  Checked checked({pool});
  until([&] { return checked.state("app").health() == Health::kDown; });
  checked->stop();
  refusing.listen();
  checked.set_pools({pool, pool_of("other", pool.settings.check, {refusing.address()})});
  checked.end();
  CHECK(checked.state("app").health() == Health::kDown);
  CHECK(checked.state("other").health() == Health::kUnchecked);
}

TEST_CASE("a want of descriptors is no result") {
  const RefusingBackend refusing;
  Checked checked({}, LogLevel::kDebug);
  rlimit limit{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  rlimit none = limit;
  none.rlim_cur = 3;
  const auto pool = pool_of("app", quick_check(CheckKind::kTcp), {refusing.address()});
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  checked.set_pools({pool});
  until([&] { return checked.logged("msg=\"a check was not made\"") >= 4; });
  const auto failed = checked->failed();
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
  CHECK(failed == 0);
  CHECK(checked.becomes("app", Health::kDown) == "Connection refused");
}

// ---- PROXY headers

namespace {

/// What a checked backend hears first from a pool that sends this header.
Bytes heard_with(policy::SendProxy send_proxy) {
  const ReplyingBackend backend(server_hello());
  auto pool = pool_of("app", quick_check(CheckKind::kTls), {backend.address()});
  pool.settings.send_proxy = send_proxy;
  Checked checked({pool});
  CHECK(checked.becomes("app", Health::kUp) == "ServerHello");
  return backend.heard();
}

}  // namespace

TEST_CASE("a check says in a header of version 2 that it is the proxy's own") {
  const Bytes heard = heard_with(policy::SendProxy::kV2);
  const Bytes local = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51,
                       0x55, 0x49, 0x54, 0x0a, 0x20, 0x00, 0x00, 0x00};
  REQUIRE(heard.size() > local.size());
  CHECK(Bytes(heard.begin(), heard.begin() + 16) == local);
  CHECK(heard[16] == kHandshakeRecord);
}

TEST_CASE("a check sends a header of version 1 with the addresses of its own connection") {
  const Bytes heard = heard_with(policy::SendProxy::kV1);
  const std::string text(heard.begin(), heard.end());
  CHECK(text.starts_with("PROXY TCP4 127.0.0.1 127.0.0.1 "));
  const auto end = text.find("\r\n");
  REQUIRE(end != text.npos);
  CHECK(heard[end + 2] == kHandshakeRecord);
}

TEST_CASE("a Unix socket is checked: it is up while somebody listens there") {
  const test::TempDir directory;
  const std::string path = directory.file("app.sock");
  const auto address = BackendAddress::parse("unix:" + path);
  REQUIRE(address.has_value());
  policy::Pool pool{.name = "app", .settings = {}, .backends = {{.address = *address}}};
  pool.settings.check = quick_check(CheckKind::kTcp);
  Checked checked({pool});
  CHECK(checked.becomes("app", Health::kDown) == "No such file or directory");
  const Fd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto place = address->resolve();
  REQUIRE(::bind(listener.get(), place->data(), place->size()) == 0);
  REQUIRE(::listen(listener.get(), 16) == 0);
  CHECK(checked.becomes("app", Health::kUp) == "connected");
}
