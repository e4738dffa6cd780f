// SPDX-License-Identifier: Apache-2.0
// The client's way to a server: real servers of gRPC, real certificates of the openssl program, and
// the message for each thing that can be wrong.

#include "client/channel.hpp"

#include <fmt/format.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "admin/certificate_files.hpp"
#include "admin/local_socket.hpp"
#include "base/fd.hpp"
#include "support/as_user.hpp"
#include "support/catch.hpp"
#include "unit/admin/generic_call.hpp"
#include "unit/net/loopback.hpp"
#include "unit/rpc/workshop.hpp"

using namespace mc;
using namespace mc::client;
using namespace mc::admin::test;
using namespace mc::rpc::test;
using mc::admin::CertificateFiles;
using mc::admin::LocalSocket;

namespace {

/// What the client shows to the servers of the workshop.
ClientTls tls_of(const Workshop& workshop, std::string_view who, std::string_view ca = "ca") {
  return {.ca = workshop.pem(ca), .certificate = workshop.pem(who), .key = workshop.key(who)};
}

constexpr std::size_t kBigBytes = 8 * 1024 * 1024;  // twice what gRPC allows unless told otherwise

/// Replies with kBigBytes to each call, then with a status of its own.
class Service : public grpc::CallbackGenericService {
 public:
  grpc::Status status{grpc::StatusCode::UNAVAILABLE, "the server says no"};
  /// Leaves calls without a reply.
  bool is_silent = false;

 private:
  class Reactor : public grpc::ServerGenericBidiReactor {
   public:
    explicit Reactor(const Service& service)
        : status_(service.status), is_silent_(service.is_silent) {
      if (is_silent_) return;
      const grpc::Slice slice(std::string(kBigBytes, 'x'));
      answer_ = grpc::ByteBuffer(&slice, 1);
      StartWrite(&answer_);
    }
    void OnWriteDone(bool) override { Finish(status_); }
    void OnCancel() override {
      if (is_silent_) Finish(grpc::Status::CANCELLED);
    }
    void OnDone() override { delete this; }

   private:
    const grpc::Status status_;
    const bool is_silent_;
    grpc::ByteBuffer answer_;
  };

  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext*) override {
    return new Reactor(*this);
  }
};

class Server {
 public:
  explicit Server(std::shared_ptr<grpc::ServerCredentials> credentials) {
    int port = 0;
    grpc::ServerBuilder builder;
    builder.RegisterCallbackGenericService(&service);
    builder.AddListeningPort("127.0.0.1:0", std::move(credentials), &port);
    server = builder.BuildAndStart();
    REQUIRE(server != nullptr);
    address = fmt::format("localhost:{}", port);
    ip_address = fmt::format("127.0.0.1:{}", port);
  }
  ~Server() { server->Shutdown(std::chrono::system_clock::now()); }

  Service service;
  std::unique_ptr<grpc::Server> server;
  std::string address, ip_address;
};

/// A server with the certificate `name` that takes clients of `client_ca`.
class TlsServer {
 public:
  TlsServer(const Workshop& workshop, const std::string& name, const std::string& client_ca = "ca")
      : files_(load({workshop.pem(name), workshop.key(name), workshop.pem(client_ca)})),
        server_(files_->server_credentials()) {}

  Server* operator->() { return &server_; }

 private:
  static std::unique_ptr<CertificateFiles> load(const rpc::CertificatePaths& paths) {
    auto files = CertificateFiles::load(paths);
    if (!files) FAIL(files.error().message);
    return *std::move(files);
  }

  std::unique_ptr<CertificateFiles> files_;
  Server server_;
};

std::shared_ptr<grpc::Channel> channel_of(Result<std::shared_ptr<grpc::Channel>> channel) {
  if (!channel) FAIL(channel.error().message);
  return *std::move(channel);
}

std::string error_of(const Result<std::shared_ptr<grpc::Channel>>& channel) {
  return channel ? "" : channel.error().message;
}

/// What a person is told whose call over TLS does not get through.
std::string explained(const std::string& address, const ClientTls& tls) {
  const auto answer = call(channel_of(connect_tls(address, tls)));
  CHECK(answer.status.error_code() == grpc::StatusCode::UNAVAILABLE);
  return explain(answer.status, address, tls);
}

void check_has(const std::string& text, std::initializer_list<std::string_view> parts) {
  INFO(text);
  for (const std::string_view part : parts) {
    INFO(part);
    CHECK(text.contains(part));
  }
}

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  return address;
}

}  // namespace

TEST_CASE("a call goes through the local socket, and its answer may be large") {
  const Workshop workshop;
  const Server server(grpc::InsecureServerCredentials());
  auto socket = LocalSocket::open(workshop.socket());
  REQUIRE(socket.has_value());
  (*socket)->serve(*server.server);
  const auto channel = channel_of(connect_local({.socket = workshop.socket()}));
  const auto answer = call(channel);
  CHECK(answer.bytes == kBigBytes);
  CHECK(explain(answer.status, workshop.socket()) == "the server says no");
  (*socket)->close();
}

TEST_CASE("a local server that does not run is told, with the command that starts it") {
  const Workshop workshop;
  SECTION("no socket") {
    CHECK(error_of(connect_local({.socket = workshop.socket(), .config = "/etc/p.toml"})) ==
          fmt::format("no server runs with this configuration: admin socket \"{}\": there is no "
                      "such file; start it: mc-proxy server -c /etc/p.toml",
                      workshop.socket()));
    CHECK(error_of(connect_local({.socket = workshop.file("none/admin.sock")}))
              .ends_with("start it: mc-proxy server -c FILE"));
  }
  SECTION("a socket that a killed server has left") {
    const Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const auto address = address_of(workshop.socket());
    REQUIRE(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
    check_has(error_of(connect_local({.socket = workshop.socket()})),
              {"no server runs", "the server that made it has been killed; start it"});
  }
}

TEST_CASE("a path that is no socket of ours is told") {
  const Workshop workshop;
  write_file(workshop.socket(), "content");
  CHECK(error_of(connect_local({.socket = workshop.socket()}))
            .contains("the file there is not a socket; correct grpc.socket"));
  CHECK(error_of(connect_local({.socket = std::string(200, 'x')})).contains("name too long"));
  CHECK(error_of(connect_local({.socket = ""})).contains("correct grpc.socket"));
}

TEST_CASE("who may not connect is told who may") {
  if (::geteuid() != 0) return;
  const Workshop workshop;
  const auto socket = LocalSocket::open(workshop.socket());
  REQUIRE(socket.has_value());
  std::string error;
  SECTION("root alone") {
    mc::test::as_user(mc::test::kNobody,
                      [&] { error = error_of(connect_local({.socket = workshop.socket()})); });
    CHECK(error.ends_with("uid 65534 has no permission to connect to it; run this as root"));
  }
  SECTION("the owner") {
    REQUIRE(::chown(workshop.socket().c_str(), 1, 1) == 0);
    mc::test::as_user(mc::test::kNobody,
                      [&] { error = error_of(connect_local({.socket = workshop.socket()})); });
    CHECK(error.ends_with("run this as the user that owns it (daemon), or root"));
  }
}

TEST_CASE("a local server that goes away leaves it open what it has done") {
  const Workshop workshop;
  auto socket = LocalSocket::open(workshop.socket());
  REQUIRE(socket.has_value());
  auto server = std::make_unique<Server>(grpc::InsecureServerCredentials());
  (*socket)->serve(*server->server);
  const auto channel = channel_of(connect_local({.socket = workshop.socket()}));
  REQUIRE(call(channel).bytes == kBigBytes);
  (*socket)->close();
  server.reset();
  const auto status = call(channel).status;
  INFO(status.error_message());
  check_has(explain(status, workshop.socket()),
            {"admin.sock\": it has closed the connection (", "whether the change was made"});
}

TEST_CASE("an address is host and port") {
  const Workshop workshop;
  const auto error = [&](const std::string& address) {
    return error_of(connect_tls(address, tls_of(workshop, "alice")));
  };
  for (const char* address : {"localhost", "[::1]", "", "localhost:", "localhost:0", "a:65536",
                              "a:1x", "::1:9090", ":9090", "[]:9090", "a/b:9090", "unix:/a:1"}) {
    INFO(address);
    CHECK(error(address).starts_with(fmt::format("address \"{}\": ", address)));
    CHECK(error(address).contains("write host:port, like localhost:9090"));
  }
  for (const char* address : {"localhost:9090", "[::1]:9090", "192.0.2.1:1", "a-b.example:65535"}) {
    INFO(address);
    CHECK(error(address).contains("alice.pem\": there is no such file"));
  }
}

TEST_CASE("the client's own files are checked before it connects") {
  const Workshop workshop;
  workshop.issue({.name = "alice", .use = "clientAuth"});
  const ClientTls tls = tls_of(workshop, "alice");
  const auto error = [](const ClientTls& files) {
    return error_of(connect_tls("localhost:1", files));
  };
  CHECK(error(tls).empty());
  check_has(error({.ca = workshop.file("none"), .certificate = tls.certificate, .key = tls.key}),
            {"CA file \"", "none\": there is no such file"});
  check_has(error({.ca = tls.ca, .certificate = workshop.file("none"), .key = tls.key}),
            {"client certificate \"", "none\": there is no such file"});
  check_has(error({.ca = tls.ca, .certificate = tls.certificate, .key = workshop.key("ca")}),
            {"client key \"", "the key does not belong to the certificate in \""});

  workshop.issue({.name = "server"});
  check_has(error(tls_of(workshop, "server")),
            {"it does not allow use by a client", "extendedKeyUsage = clientAuth"});
  workshop.issue({.name = "old", .use = "clientAuth", .until = "20210102030405Z"});
  check_has(error(tls_of(workshop, "old")),
            {"client certificate \"", "it expired on 2021-01-02 03:04:05 UTC (CN=old); issue"});
  workshop.issue({.name = "early", .use = "clientAuth", .from = "20900101000000Z"});
  check_has(error(tls_of(workshop, "early")),
            {"it is not valid before 2090-01-01 00:00:00 UTC (CN=early); check this machine's"});
}

TEST_CASE("a call goes through mutual TLS, and its answer may be large") {
  const Workshop workshop;
  workshop.issue({.name = "server"});
  workshop.issue({.name = "alice", .use = "clientAuth"});
  TlsServer server(workshop, "server");
  for (const std::string& address : {server->address, server->ip_address}) {
    INFO(address);
    const auto answer = call(channel_of(connect_tls(address, tls_of(workshop, "alice"))));
    CHECK(answer.bytes == kBigBytes);
    CHECK(explain(answer.status, address, tls_of(workshop, "alice")) == "the server says no");
  }
}

TEST_CASE("the proxy for the web is not used") {
  const Workshop workshop;
  workshop.issue({.name = "server"});
  workshop.issue({.name = "alice", .use = "clientAuth"});
  TlsServer server(workshop, "server");
  REQUIRE(::setenv("http_proxy", "http://127.0.0.1:1", 1) == 0);
  const auto answer = call(channel_of(connect_tls(server->address, tls_of(workshop, "alice"))));
  REQUIRE(::unsetenv("http_proxy") == 0);
  CHECK(answer.bytes == kBigBytes);
}

TEST_CASE("the server's own words stay as they are") {
  const Workshop workshop;
  const ClientTls tls = tls_of(workshop, "alice");
  using grpc::StatusCode;
  for (const auto code : {StatusCode::NOT_FOUND, StatusCode::UNAVAILABLE, StatusCode::INTERNAL,
                          StatusCode::DEADLINE_EXCEEDED}) {
    const grpc::Status status(code, "no route \"a\" on :443");
    CHECK(explain(status, "socket") == "no route \"a\" on :443");
    CHECK(explain(status, "localhost:1", tls) == "no route \"a\" on :443");
  }
  CHECK(explain(grpc::Status(StatusCode::INTERNAL, ""), "socket") ==
        "the call failed with gRPC code 13");
}

TEST_CASE("a connection that is lost during a call leaves it open what the server has done") {
  const Workshop workshop;
  const grpc::Status lost(grpc::StatusCode::UNAVAILABLE, "Socket closed");
  check_has(explain(lost, "localhost:1", tls_of(workshop, "alice")),
            {"server \"localhost:1\": it has closed the connection (Socket closed)",
             "whether the change was made before you try again"});
}

TEST_CASE("why a server cannot be reached is told") {
  const Workshop workshop;
  workshop.issue({.name = "server"});
  workshop.issue({.name = "alice", .use = "clientAuth"});
  const ClientTls tls = tls_of(workshop, "alice");

  SECTION("nobody listens") {
    std::string address;
    {
      const Server stopped(grpc::InsecureServerCredentials());
      address = stopped.address;
    }
    check_has(explained(address, tls), {"server \"localhost:", "no server listens there; start"});
  }
  SECTION("the name has no address") {
    check_has(explained("nowhere.invalid:9090", tls),
              {"server \"nowhere.invalid:9090\": the name \"nowhere.invalid\" has no address"});
  }
  SECTION("no TLS is spoken there") {
    const Server plain(grpc::InsecureServerCredentials());
    check_has(explained(plain.address, tls), {"does not use TLS; correct the address"});
  }
  SECTION("the server's certificate has expired") {
    workshop.issue({.name = "late", .until = "20210102030405Z"});
    TlsServer server(workshop, "late");
    check_has(explained(server->address, tls),
              {"its certificate (CN=late) expired on 2021-01-02 03:04:05 UTC; renew it"});
  }
  SECTION("the server's certificate is not yet valid") {
    workshop.issue({.name = "early", .from = "20900101000000Z"});
    TlsServer server(workshop, "early");
    check_has(
        explained(server->address, tls),
        {"its certificate (CN=early) is not valid before 2090-01-01 00:00:00 UTC; check the"});
  }
  SECTION("the server's certificate is of another CA") {
    workshop.make_ca("other", "other-ca");
    workshop.issue({.name = "stranger", .ca = "other"});
    TlsServer server(workshop, "stranger");
    check_has(explained(server->address, tls),
              {"its certificate (CN=stranger) was issued by CN=other-ca, which is not in \"/",
               "ca.pem\"; name the file of that CA"});
  }
  SECTION("the server's certificate is of a CA with the same name") {
    workshop.make_ca("namesake", "ca");
    workshop.issue({.name = "stranger", .ca = "namesake"});
    TlsServer server(workshop, "stranger");
    check_has(explained(server->address, tls),
              {"its certificate (CN=stranger)", "issued by CN=ca"});
  }
  SECTION("the server's certificate is for another host") {
    workshop.issue({.name = "elsewhere", .names = "DNS:a.example,DNS:b.example"});
    TlsServer server(workshop, "elsewhere");
    check_has(explained(server->address, tls),
              {"its certificate (CN=elsewhere) is not for \"localhost\" but for DNS:a.example, "
               "DNS:b.example; connect by one of its names"});
    check_has(explained(server->ip_address, tls), {"is not for \"127.0.0.1\" but for DNS:a"});
  }
}

TEST_CASE("why a server refuses the client is told, though gRPC's server does not say it") {
  const Workshop workshop;
  workshop.make_ca("other", "other-ca");
  workshop.issue({.name = "server"});
  SECTION("a certificate of a CA that it does not take") {
    workshop.issue({.name = "mallory", .ca = "other", .use = "clientAuth"});
    TlsServer server(workshop, "server");
    check_has(explained(server->address, tls_of(workshop, "mallory")),
              {"it refused the client certificate \"/",
               "mallory.pem\" (CN=mallory), issued by "
               "CN=other-ca; use one that was issued by CN=ca (grpc.client_ca of the server)"});
  }
  SECTION("one of a CA with the same name") {
    workshop.make_ca("namesake", "ca");
    workshop.issue({.name = "mallory", .ca = "namesake", .use = "clientAuth"});
    TlsServer server(workshop, "server");
    check_has(
        explained(server->address, tls_of(workshop, "mallory")),
        {"it refused the client certificate \"/", "(CN=mallory); see its log for the reason"});
  }
}

TEST_CASE("a server that hangs up at once is told from one that refuses the client") {
  const Workshop workshop;
  workshop.issue({.name = "alice", .use = "clientAuth"});
  const Fd listener = mc::test::listening_socket();
  std::thread server([&] {
    for (int fd = -1; (fd = ::accept(listener.get(), nullptr, nullptr)) >= 0;) ::close(fd);
  });
  const std::string explanation =
      explained(mc::test::address_of(listener).to_string(), tls_of(workshop, "alice"));
  ::shutdown(listener.get(), SHUT_RDWR);
  server.join();
  check_has(explanation, {"it closed the connection during the handshake; check"});
}

TEST_CASE("a call without an answer in time is told, once the server is found well") {
  const Workshop workshop;
  workshop.issue({.name = "server"});
  workshop.issue({.name = "alice", .use = "clientAuth"});
  TlsServer server(workshop, "server");
  server->service.is_silent = true;
  const ClientTls tls = tls_of(workshop, "alice");
  const auto channel = channel_of(connect_tls(server->address, tls));
  const auto status = call(channel, std::chrono::milliseconds(200)).status;
  CHECK(status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED);
  check_has(explain(status, server->address, tls), {"no reply in time; check in its log"});
  check_has(explain(status, "socket"), {"server \"socket\": no reply in time"});
}
