// SPDX-License-Identifier: Apache-2.0
#include "base/owner.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <string>

#include "base/fd.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"

namespace {

constexpr uid_t kUser = 65534;
constexpr gid_t kGroup = 65533;

void make_file(const std::string& path) {
  REQUIRE(mc::Fd(::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600)));
}

void make_socket(const std::string& path) {
  const mc::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  path.copy(address.sun_path, path.size());
  REQUIRE(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
}

uid_t user_of(const std::string& path) {
  struct stat found{};
  REQUIRE(::lstat(path.c_str(), &found) == 0);
  return found.st_uid;
}

}  // namespace

TEST_CASE(
    "what root makes is for the owner of the file beside it, or of the directory before that") {
  if (::geteuid() != 0) return;
  const mc::test::TempDir directory;
  const std::string file = directory.file("mc-proxy.db");
  REQUIRE(::chown(directory.path().c_str(), kUser, kGroup) == 0);
  const auto of_directory = mc::owner_beside(file);
  REQUIRE(of_directory.has_value());
  CHECK(of_directory->user == kUser);
  CHECK(of_directory->group == kGroup);
  make_file(file);
  const auto of_file = mc::owner_beside(file);
  REQUIRE(of_file.has_value());
  CHECK(of_file->user == 0);
  CHECK_FALSE(mc::owner_beside(directory.file("none/mc-proxy.db")).has_value());
}

TEST_CASE("a socket is given away, and nothing that somebody has put in its place") {
  if (::geteuid() != 0) return;
  const mc::test::TempDir directory;
  const std::string path = directory.file("a.sock");
  const mc::Owner owner{.user = kUser, .group = kGroup};
  SECTION("the socket") {
    make_socket(path);
    mc::give_socket(path, owner);
    CHECK(user_of(path) == kUser);
  }
  SECTION("a file") {
    make_file(path);
    mc::give_socket(path, owner);
    CHECK(user_of(path) == 0);
  }
  SECTION("a symbolic link to a socket") {
    make_socket(directory.file("b.sock"));
    REQUIRE(::symlink("b.sock", path.c_str()) == 0);
    mc::give_socket(path, owner);
    CHECK(user_of(directory.file("b.sock")) == 0);
    CHECK(user_of(path) == 0);
  }
  SECTION("a second name of another socket") {
    make_socket(directory.file("b.sock"));
    REQUIRE(::link(directory.file("b.sock").c_str(), path.c_str()) == 0);
    mc::give_socket(path, owner);
    CHECK(user_of(path) == 0);
  }
}

TEST_CASE("a user is called by the name that the system knows, or by number") {
  CHECK(mc::user_name(0) == "root");
  CHECK(mc::user_name(4'000'000'000).empty());
  CHECK(mc::user_text(0) == "root");
  CHECK(mc::user_text(4'000'000'000) == "uid 4000000000");
}
