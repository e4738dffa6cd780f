// SPDX-License-Identifier: Apache-2.0
// The local socket, with real sockets, real gRPC on both sides, and other users where the tests run
// as root.

#include "admin/local_socket.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/grpcpp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "admin/limits.hpp"
#include "support/as_user.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "unit/admin/generic_call.hpp"

using namespace mc;
using namespace mc::admin;

namespace {

class TempDir : public mc::test::TempDir {
 public:
  [[nodiscard]] std::string socket() const { return file("admin.sock"); }
};

/// Sets the umask for a while.
class Umask {
 public:
  explicit Umask(mode_t mode) : before_(::umask(mode)) {}
  Umask(const Umask&) = delete;
  Umask& operator=(const Umask&) = delete;
  ~Umask() { ::umask(before_); }

 private:
  const mode_t before_;
};

std::unique_ptr<LocalSocket> open(const std::string& path) {
  auto socket = LocalSocket::open(path);
  if (!socket) FAIL(socket.error().message);
  return *std::move(socket);
}

std::string open_error(const std::string& path) {
  const auto socket = LocalSocket::open(path);
  return socket ? "" : socket.error().message;
}

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  return address;
}

/// A connection without gRPC.
Fd connect_raw(const std::string& path) {
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto address = address_of(path);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return {};
  }
  return fd;
}

/// What a killed server leaves: a socket that nobody listens on.
void leave_socket(const std::string& path) {
  const Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto address = address_of(path);
  REQUIRE(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  REQUIRE(::listen(fd.get(), 1) == 0);
}

bool is_readable(const Fd& fd, std::chrono::milliseconds wait) {
  pollfd event{.fd = fd.get(), .events = POLLIN, .revents = 0};
  return ::poll(&event, 1, static_cast<int>(wait.count())) == 1;
}

/// gRPC's server sends first: its settings.
bool is_accepted(const Fd& fd) { return is_readable(fd, std::chrono::seconds(20)); }

/// A gRPC server that has a local socket, and a TCP port.
class Server {
 public:
  explicit Server(const std::string& path) : socket(open(path)) {
    grpc::ServerBuilder builder;
    builder.RegisterCallbackGenericService(&service_);
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    server_ = builder.BuildAndStart();
    REQUIRE(server_ != nullptr);
    socket->serve(*server_);
  }
  ~Server() {
    socket->close();
    server_->Shutdown(std::chrono::system_clock::now());
  }

  const std::unique_ptr<LocalSocket> socket;
  int port = 0;

 private:
  // With what it knows of the caller.
  admin::test::StatusService service_{[this](const grpc::GenericCallbackServerContext& context) {
    const auto peer = socket->peer(context.peer());
    return grpc::Status(grpc::StatusCode::ABORTED,
                        context.peer() + " " + (peer ? describe(*peer) : "nobody"));
  }};
  std::unique_ptr<grpc::Server> server_;
};

/// The message that the server returns, or gRPC's own.
std::string answer_of(const std::shared_ptr<grpc::Channel>& channel) {
  return admin::test::call(channel).status.error_message();
}

std::shared_ptr<grpc::Channel> channel_of(Fd connection) {
  REQUIRE(bool(connection));
  return grpc::CreateInsecureChannelFromFd("test", connection.release());
}

std::string fd_of(const std::string& answer) { return answer.substr(0, answer.find(' ')); }

}  // namespace

TEST_CASE("only the owner may open the socket, whatever the umask") {
  const TempDir dir;
  const Umask mask(GENERATE(0U, 022U, 077U, 0177U));
  const auto socket = open(dir.socket());
  CHECK(mc::test::mode_of(dir.socket()) == 0600);
  if (::geteuid() == 0) {
    bool is_connected = true;
    mc::test::as_user(mc::test::kNobody, [&] { is_connected = bool(connect_raw(dir.socket())); });
    CHECK(!is_connected);
  }
}

TEST_CASE("a umask that takes the owner's permission is an error, and nothing stays") {
  const TempDir dir;
  std::string error;
  {
    const Umask mask(0777);
    error = open_error(dir.socket());
  }
  CHECK(error.contains("with mode 0000, not 0600; start the server with umask 077"));
  CHECK(!std::filesystem::exists(dir.socket()));
}

TEST_CASE("the socket goes when it is closed") {
  const TempDir dir;
  auto socket = open(dir.socket());
  SECTION("by close()") { socket->close(); }
  SECTION("twice") {
    socket->close();
    socket->close();
  }
  SECTION("by its destructor") { socket.reset(); }
  CHECK(!std::filesystem::exists(dir.socket()));
}

TEST_CASE("a socket that somebody else has put there meanwhile stays") {
  const TempDir dir;
  auto first = open(dir.socket());
  std::filesystem::remove(dir.socket());
  const auto second = open(dir.socket());
  first.reset();
  CHECK(bool(connect_raw(dir.socket())));
}

TEST_CASE("the socket of a killed server is replaced") {
  const TempDir dir;
  leave_socket(dir.socket());
  const Server server(dir.socket());
  CHECK(answer_of(channel_of(connect_raw(dir.socket()))).starts_with("fd:"));
}

TEST_CASE("the socket of a running server is not") {
  const TempDir dir;
  const Server server(dir.socket());
  CHECK(open_error(dir.socket()) ==
        fmt::format("admin socket \"{}\": another server uses it (pid {}); stop that one first, or "
                    "give this one another grpc.socket",
                    dir.socket(), ::getpid()));
  CHECK(answer_of(channel_of(connect_raw(dir.socket()))).starts_with("fd:"));
}

TEST_CASE("what is no socket is an error and stays") {
  const TempDir dir;
  SECTION("a file") { std::ofstream(dir.socket()) << "content"; }
  SECTION("a directory") { std::filesystem::create_directory(dir.socket()); }
  SECTION("a link, even to a socket") {
    leave_socket(dir.file("other"));
    std::filesystem::create_symlink(dir.file("other"), dir.socket());
  }
  CHECK(open_error(dir.socket()).contains("the file there is not a socket; correct"));
  CHECK(std::filesystem::exists(dir.socket()));
}

TEST_CASE("a path that cannot be is an error with the remedy") {
  const TempDir dir;
  CHECK(open_error(dir.file("missing/admin.sock"))
            .contains(fmt::format("there is no directory \"{0}\"; create it: install -d -o "
                                  "mc-proxy -g mc-proxy {0} ",
                                  dir.file("missing"))));
  const std::string long_path = dir.file(std::string(108, 'x'));
  CHECK(open_error(long_path).contains(
      fmt::format("a socket's path has 1 to 107 bytes, this one has {}", long_path.size())));
  CHECK(open_error("").contains("this one has 0; correct grpc.socket"));
}

TEST_CASE("a directory without permission is named") {
  if (::geteuid() != 0) return;
  const TempDir dir;
  std::string error;
  mc::test::as_user(mc::test::kNobody, [&] { error = open_error(dir.socket()); });
  CHECK(error.contains("has no permission to create it in \"/"));
}

TEST_CASE("the kernel says who calls") {
  const TempDir dir;
  const Server server(dir.socket());
  const auto channel = channel_of(connect_raw(dir.socket()));
  const std::string answer = answer_of(channel);
  INFO(answer);
  CHECK(answer.contains(fmt::format("uid={}", ::getuid())));
  CHECK(answer.ends_with(fmt::format(" pid={}", ::getpid())));
  const auto peer = server.socket->peer(fd_of(answer));
  REQUIRE(peer.has_value());
  CHECK(peer->uid == ::getuid());
  CHECK(peer->pid == ::getpid());
}

TEST_CASE("another user's call is told from the owner's") {
  if (::geteuid() != 0) return;
  const TempDir dir;
  const Server server(dir.socket());
  REQUIRE(::chown(dir.socket().c_str(), mc::test::kNobody, mc::test::kNobody) == 0);
  Fd connection;
  mc::test::as_user(mc::test::kNobody, [&] { connection = connect_raw(dir.socket()); });
  const auto theirs = channel_of(std::move(connection));
  const auto ours = channel_of(connect_raw(dir.socket()));
  CHECK(answer_of(theirs).contains("uid=65534"));
  CHECK(answer_of(ours).contains("uid=0(root)"));
}

TEST_CASE("a call that did not come through the socket has no local peer") {
  const TempDir dir;
  const Server server(dir.socket());
  const auto over_tcp = grpc::CreateChannel(fmt::format("127.0.0.1:{}", server.port),
                                            grpc::InsecureChannelCredentials());
  const std::string answer = answer_of(over_tcp);
  INFO(answer);
  CHECK(answer.starts_with("ipv4:127.0.0.1:"));
  CHECK(answer.ends_with(" nobody"));

  const std::string local = fd_of(answer_of(channel_of(connect_raw(dir.socket()))));
  REQUIRE(server.socket->peer(local).has_value());
  for (const std::string& other :
       {std::string(), std::string("fd:"), std::string("fd:-1"), std::string("fd:99999999"),
        local + "x", local + " ", " " + local, "fd: " + local.substr(3), local.substr(3),
        std::string("fd:99999999999999999999")}) {
    INFO(other);
    CHECK(!server.socket->peer(other).has_value());
  }
}

TEST_CASE("a connection's name does not come again soon, and its peer is known when it has ended") {
  const TempDir dir;
  const Server server(dir.socket());
  std::set<std::string> names;
  for (int i = 0; i < 100; ++i) {
    names.insert(fd_of(answer_of(channel_of(connect_raw(dir.socket())))));
  }
  CHECK(names.size() == 100);
  for (const std::string& name : names) CHECK(server.socket->peer(name).has_value());
}

TEST_CASE("numbers begin again, so that they stay small and few") {
  const TempDir dir;
  const Server server(dir.socket());
  std::set<int> numbers;
  for (int i = 0; i < 2 * kLocalFdNumbers; ++i) {
    const std::string answer = answer_of(channel_of(connect_raw(dir.socket())));
    REQUIRE(answer.contains("pid="));
    numbers.insert(std::stoi(answer.substr(3)));
  }
  CHECK(*numbers.begin() >= kLocalFdBegin);
  CHECK(*numbers.rbegin() < kLocalFdBegin + 2 * kLocalFdNumbers);
  CHECK(numbers.size() <= static_cast<std::size_t>(kLocalFdNumbers) + kLocalConnectionsMax);
}

TEST_CASE("beyond the most connections the next one waits until one ends") {
  const TempDir dir;
  const Server server(dir.socket());
  std::vector<Fd> connections;
  for (std::size_t i = 0; i < kLocalConnectionsMax; ++i) {
    connections.push_back(connect_raw(dir.socket()));
    REQUIRE(is_accepted(connections.back()));
  }
  const Fd next = connect_raw(dir.socket());
  REQUIRE(bool(next));
  CHECK(!is_readable(next, 3 * kAcceptPause));
  connections.front().reset();
  CHECK(is_accepted(next));
}

TEST_CASE("without a descriptor accepting rests and does not spin") {
  const TempDir dir;
  const Server server(dir.socket());
  REQUIRE(is_accepted(connect_raw(dir.socket())));
  const Fd waiting(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const rlimit none{.rlim_cur = 3, .rlim_max = before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  const auto address = address_of(dir.socket());
  const int connected =
      ::connect(waiting.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  const std::clock_t begin = std::clock();
  const std::chrono::milliseconds wait = 5 * kAcceptPause;
  pollfd event{.fd = waiting.get(), .events = POLLIN, .revents = 0};
  const int ready = ::poll(&event, 1, static_cast<int>(wait.count()));
  const double cpu_seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK(connected == 0);
  CHECK(ready == 0);
  CHECK(cpu_seconds < 0.1);
  CHECK(is_accepted(waiting));
}

TEST_CASE("connections outlive the socket") {
  const TempDir dir;
  const Server server(dir.socket());
  const auto channel = channel_of(connect_raw(dir.socket()));
  REQUIRE(answer_of(channel).starts_with("fd:"));
  server.socket->close();
  CHECK(!connect_raw(dir.socket()));
  CHECK(answer_of(channel).contains("pid="));
}

TEST_CASE("a peer is described with the name of the user, where there is one") {
  CHECK(describe({.uid = 0, .pid = 1234}) == "uid=0(root) pid=1234");
  CHECK(describe({.uid = 4'000'000'000, .pid = 7}) == "uid=4000000000 pid=7");
}
