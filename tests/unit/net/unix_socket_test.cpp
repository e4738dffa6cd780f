// SPDX-License-Identifier: Apache-2.0
#include "net/unix_socket.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "support/catch.hpp"
#include "support/files.hpp"

using namespace mc;
using namespace mc::net;

namespace {

Fd listening(const std::string& path) {
  Fd listener = new_unix_socket(SOCK_STREAM);
  REQUIRE(bind_unix(listener.get(), path));
  REQUIRE(::listen(listener.get(), 1) == 0);
  return listener;
}

}  // namespace

TEST_CASE("a Unix socket is reached at a path of any length") {
  const mc::test::TempDir directory;
  std::filesystem::path deep = directory.path();
  const bool is_long = GENERATE(false, true);
  while (is_long && deep.string().size() <= kUnixPathMax) deep /= "a-directory-with-a-long-name";
  std::filesystem::create_directories(deep);
  const std::string path = deep / "socket";
  const Fd listener = listening(path);
  struct stat made{};
  REQUIRE(::lstat(path.c_str(), &made) == 0);
  CHECK((made.st_mode & 07777) == 0600);

  const Fd client = new_unix_socket(SOCK_STREAM);
  REQUIRE(connect_unix(client.get(), path));
  const auto peer = peer_of(client.get());
  REQUIRE(peer.has_value());
  CHECK(peer->pid == ::getpid());
  CHECK(peer->uid == ::geteuid());
}

TEST_CASE("a Unix socket that cannot be had leaves the reason in errno") {
  const mc::test::TempDir directory;
  const Fd fd = new_unix_socket(SOCK_STREAM);
  CHECK_FALSE(connect_unix(fd.get(), directory.file("none")));
  CHECK(errno == ENOENT);
  CHECK_FALSE(connect_unix(fd.get(), ""));
  CHECK(errno == ENOENT);
  CHECK_FALSE(bind_unix(fd.get(), directory.file(std::string(200, 'x'))));
  CHECK(errno == ENAMETOOLONG);
  CHECK_FALSE(
      bind_unix(fd.get(), directory.file(std::string(100, 'd') + '/' + std::string(50, 'x'))));
  CHECK(errno == ENOENT);
}

TEST_CASE("a connect to a full queue waits for its limit and no longer") {
  const mc::test::TempDir directory;
  const std::string path = directory.file("socket");
  const Fd listener = listening(path);
  REQUIRE(::listen(listener.get(), 0) == 0);
  const Fd first = new_unix_socket(SOCK_STREAM);
  REQUIRE(connect_unix(first.get(), path));
  const Fd second = new_unix_socket(SOCK_STREAM, std::chrono::seconds(1));
  CHECK_FALSE(connect_unix(second.get(), path));
  CHECK(errno == EAGAIN);
}

TEST_CASE("a socket's number tells it from a later one with its number") {
  Fd first(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int number = first.get();
  const std::uint64_t cookie = socket_cookie(number);
  CHECK(cookie != 0);
  CHECK(socket_cookie(number) == cookie);
  first.reset();
  CHECK(socket_cookie(number) == 0);
  const Fd second(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(second.get() == number);
  CHECK(socket_cookie(number) != cookie);
}
