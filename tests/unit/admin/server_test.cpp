// SPDX-License-Identifier: Apache-2.0
// The admin API's server as its clients and strangers reach it: a real control plane, real
// certificates, and connections that get no further.

#include "admin/server.hpp"

#include <fmt/format.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "client/channel.hpp"
#include "support/catch.hpp"
#include "unit/control/control_fixture.hpp"
#include "unit/rpc/workshop.hpp"

using namespace mc;
using namespace mc::admin;
using namespace mc::rpc::test;

namespace {

constexpr std::chrono::milliseconds kSoon{400};
constexpr std::chrono::milliseconds kNever = std::chrono::hours(1);
constexpr std::chrono::seconds kPatience{20};
// A client's first bytes of HTTP/2, and its settings.
constexpr std::string_view kPreface{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 33};

// A server without a data plane: there are no connections.
class NoTraffic final : public traffic::LiveTraffic {
 public:
  [[nodiscard]] traffic::Totals totals() const override { return {}; }
  [[nodiscard]] bool accepting() const override { return true; }
  [[nodiscard]] traffic::EventHub& events() override { return events_; }
  void list(const traffic::ConnectionFilter&,
            const std::function<bool(std::span<const traffic::Connection>)>&) override {}
  std::uint64_t close(const traffic::ConnectionFilter&, const Wanted&) override { return 0; }
  std::uint64_t count(const traffic::ConnectionFilter&, const Wanted&) override { return 0; }

 private:
  traffic::EventHub events_;
};

/// A server on a port of loopback and a Unix socket, and certificates for it and for "alice".
class Stage {
 public:
  Stage(std::chrono::milliseconds handshake_max, std::chrono::milliseconds idle_max)
      : log_({.level = LogLevel::kError, .priorities = LogPriorities::kNever}) {
    workshop.issue({.name = "server"});
    workshop.issue({.name = "alice", .use = "clientAuth"});
    REQUIRE(plant_.open() == "");
    auto started = Server::start({.addr = *SocketAddress::parse_listen("127.0.0.1:0"),
                                  .certificates = workshop.paths("server"),
                                  .socket = workshop.socket(),
                                  .version = "test",
                                  .handshake_max = handshake_max,
                                  .idle_max = idle_max},
                                 plant_.control(), traffic_, log_);
    if (!started) FAIL(started.error().message);
    server_ = *std::move(started);
  }

  [[nodiscard]] SocketAddress address() const { return *server_->tcp_address(); }

  [[nodiscard]] Fd connect_tcp() const {
    Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const SocketAddress to = address();
    REQUIRE(::connect(fd.get(), to.data(), to.size()) == 0);
    return fd;
  }

  [[nodiscard]] Fd connect_local() const {
    Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    workshop.socket().copy(to.sun_path, sizeof(to.sun_path) - 1);
    REQUIRE(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof(to)) == 0);
    return fd;
  }

  /// A client with its own connection, with a certificate or, "", through the Unix socket.
  [[nodiscard]] std::shared_ptr<grpc::Channel> channel(const std::string& who) const {
    auto made = who.empty() ? client::connect_local({.socket = workshop.socket(), .config = ""})
                            : client::connect_tls(fmt::format("localhost:{}", address().port()),
                                                  {.ca = workshop.pem("ca"),
                                                   .certificate = workshop.pem(who),
                                                   .key = workshop.key(who)});
    if (!made) FAIL(made.error().message);
    return *std::move(made);
  }

  [[nodiscard]] std::string who_changed_last() const {
    return plant_.query("SELECT who FROM audit ORDER BY id DESC LIMIT 1");
  }

  const Workshop workshop;

 private:
  Log log_;
  NoTraffic traffic_;
  control::test::Plant plant_;
  std::unique_ptr<Server> server_;
};

/// Makes a change; the error's message, or "".
std::string change(const std::shared_ptr<grpc::Channel>& channel, const std::string& address) {
  const auto stub = mc_proxy::v1::ProxyAdminService::NewStub(channel);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
  mc_proxy::v1::AddFirewallRuleRequest request;
  request.mutable_rule()->set_type(mc_proxy::v1::FIREWALL_RULE_TYPE_IP);
  request.mutable_rule()->set_value(address);
  mc_proxy::v1::AddFirewallRuleResponse response;
  const auto status = stub->AddFirewallRule(&context, request, &response);
  return status.ok() ? "" : "failed: " + status.error_message();
}

/// How long it takes until the server closes; kPatience if it does not.
std::chrono::milliseconds until_closed(const Fd& fd) {
  const auto begin = std::chrono::steady_clock::now();
  for (;;) {
    const auto passed =
        std::chrono::floor<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin);
    if (passed >= kPatience) return kPatience;
    pollfd event{.fd = fd.get(), .events = POLLIN, .revents = 0};
    ::poll(&event, 1, 100);
    char bytes[4096];
    const auto got = ::recv(fd.get(), bytes, sizeof(bytes), MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN)) {
      return std::chrono::floor<std::chrono::milliseconds>(std::chrono::steady_clock::now() -
                                                           begin);
    }
  }
}

struct SslDeleter {
  void operator()(SSL* ssl) const { ::SSL_free(ssl); }
  void operator()(SSL_CTX* context) const { ::SSL_CTX_free(context); }
};

/// Makes the TLS handshake as "alice", and sends `words`.
std::unique_ptr<SSL, SslDeleter> shake_hands(const Stage& stage, const Fd& fd,
                                             std::string_view words) {
  const std::unique_ptr<SSL_CTX, SslDeleter> context(::SSL_CTX_new(::TLS_client_method()));
  const std::string pem = stage.workshop.pem("alice"), key = stage.workshop.key("alice");
  REQUIRE(::SSL_CTX_use_certificate_file(context.get(), pem.c_str(), SSL_FILETYPE_PEM) == 1);
  REQUIRE(::SSL_CTX_use_PrivateKey_file(context.get(), key.c_str(), SSL_FILETYPE_PEM) == 1);
  constexpr unsigned char kH2[] = {2, 'h', '2'};
  REQUIRE(::SSL_CTX_set_alpn_protos(context.get(), kH2, sizeof(kH2)) == 0);
  std::unique_ptr<SSL, SslDeleter> ssl(::SSL_new(context.get()));
  REQUIRE(::SSL_set_fd(ssl.get(), fd.get()) == 1);
  REQUIRE(::SSL_connect(ssl.get()) == 1);
  if (!words.empty()) {
    REQUIRE(::SSL_write(ssl.get(), words.data(), static_cast<int>(words.size())) > 0);
  }
  return ssl;
}

/// gRPC takes or adds 10 % of an idle limit; a busy machine adds more.
void check_about(std::chrono::milliseconds took, std::chrono::milliseconds limit) {
  INFO(took.count() << " ms");
  CHECK(took >= limit * 8 / 10);
  CHECK(took < kPatience);
}

}  // namespace

TEST_CASE("both doors lead to the API, and each knows who comes") {
  const Stage stage(kHandshakeMax, kIdleMax);
  REQUIRE(change(stage.channel("alice"), "192.0.2.1") == "");
  CHECK(stage.who_changed_last() == "CN=alice");
  REQUIRE(change(stage.channel(""), "192.0.2.2") == "");
  CHECK(stage.who_changed_last().starts_with("uid="));
}

TEST_CASE("a connection that does not finish the handshakes is closed") {
  const Stage stage(kSoon, kNever);
  const Fd fd = stage.connect_tcp();
  std::unique_ptr<SSL, SslDeleter> ssl;
  SECTION("a silent one") {}
  SECTION("one that begins with TLS") { REQUIRE(::send(fd.get(), "\x16\x03\x01", 3, 0) == 3); }
  SECTION("one that is done with TLS and does not begin with HTTP/2") {
    ssl = shake_hands(stage, fd, "");
  }
  SECTION("one that begins with HTTP/2") {
    ssl = shake_hands(stage, fd, kPreface.substr(0, kPreface.size() - 1));
  }
  CHECK(until_closed(fd) < kPatience);
}

TEST_CASE("a connection without calls is closed, on both transports") {
  const Stage stage(kNever, kSoon);
  std::unique_ptr<SSL, SslDeleter> ssl;
  Fd fd;
  SECTION("over TCP") {
    fd = stage.connect_tcp();
    ssl = shake_hands(stage, fd, kPreface);
  }
  SECTION("over TCP, without a word of HTTP/2") {
    fd = stage.connect_tcp();
    ssl = shake_hands(stage, fd, "");
  }
  SECTION("on the Unix socket") {
    fd = stage.connect_local();
    REQUIRE(::send(fd.get(), kPreface.data(), kPreface.size(), 0) > 0);
  }
  SECTION("on the Unix socket, without a word") { fd = stage.connect_local(); }
  check_about(until_closed(fd), kSoon);
}

TEST_CASE("so many silent strangers that there is no place left go, and a client is served") {
  const Stage stage(kSoon, kSoon);
  std::vector<Fd> silent;
  SECTION("over TCP") {
    for (std::size_t i = 0; i < kTcpConnectionsMax + 20; ++i) silent.push_back(stage.connect_tcp());
    CHECK(change(stage.channel("alice"), "192.0.2.1") == "");
  }
  SECTION("on the Unix socket") {
    for (std::size_t i = 0; i < kLocalConnectionsMax + 20; ++i) {
      silent.push_back(stage.connect_local());
    }
    CHECK(change(stage.channel(""), "192.0.2.1") == "");
  }
}

TEST_CASE("a client whose idle connection was closed calls again and does not notice") {
  const Stage stage(kSoon, kSoon);
  const auto channel = stage.channel("alice");
  REQUIRE(change(channel, "192.0.2.1") == "");
  const auto deadline = std::chrono::system_clock::now() + kPatience;
  while (channel->GetState(false) == GRPC_CHANNEL_READY) {
    REQUIRE(channel->WaitForStateChange(GRPC_CHANNEL_READY, deadline));
  }
  CHECK(change(channel, "192.0.2.2") == "");
}

TEST_CASE("a connection with a call that goes on is not idle") {
  const Stage stage(kSoon, kSoon);
  grpc::GenericStub stub(stage.channel(GENERATE("alice", "")));
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareCall(&context, "/grpc.health.v1.Health/Watch", &queue);
  const auto next_is_ok = [&] {
    void* tag = nullptr;
    bool is_ok = false;
    const auto deadline = std::chrono::system_clock::now() + kPatience;
    return queue.AsyncNext(&tag, &is_ok, deadline) == grpc::CompletionQueue::GOT_EVENT && is_ok;
  };
  call->StartCall(nullptr);
  REQUIRE(next_is_ok());
  const grpc::Slice nothing;  // every service
  call->WriteLast(grpc::ByteBuffer(&nothing, 1), {}, nullptr);
  REQUIRE(next_is_ok());
  grpc::ByteBuffer answer;
  call->Read(&answer, nullptr);
  REQUIRE(next_is_ok());
  call->Read(&answer, nullptr);
  void* tag = nullptr;
  bool is_ok = false;
  const auto later = std::chrono::system_clock::now() + 4 * kSoon;
  CHECK(queue.AsyncNext(&tag, &is_ok, later) == grpc::CompletionQueue::TIMEOUT);
  context.TryCancel();
  CHECK(queue.AsyncNext(&tag, &is_ok, std::chrono::system_clock::now() + kPatience) ==
        grpc::CompletionQueue::GOT_EVENT);
  grpc::Status status;
  call->Finish(&status, nullptr);
  queue.Next(&tag, &is_ok);
  CHECK(status.error_code() == grpc::StatusCode::CANCELLED);
}

TEST_CASE("a server without a port says that it has none") {
  Log log({.level = LogLevel::kError, .priorities = LogPriorities::kNever});
  const Workshop workshop;
  NoTraffic traffic;
  control::test::Plant plant;
  REQUIRE(plant.open() == "");
  const auto server = Server::start(
      {.addr = {}, .certificates = {}, .socket = workshop.socket(), .version = "test"},
      plant.control(), traffic, log);
  REQUIRE(server.has_value());
  CHECK(!(*server)->tcp_address().has_value());
}
