// SPDX-License-Identifier: Apache-2.0
#include "lifecycle/handover_wire.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "lifecycle/limits.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"

namespace mc::lifecycle {
namespace {

struct Line {
  Line() {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    here = Fd(ends[0]);
    there = Fd(ends[1]);
  }

  Fd here, there;
};

}  // namespace

TEST_CASE("a message arrives whole, with its descriptors, which programs do not inherit") {
  const Line line;
  const Fd one(::dup(STDERR_FILENO));
  REQUIRE(send_message(line.here.get(), "database", {one.get(), one.get()}));
  REQUIRE(send_message(line.here.get(), "done"));
  const auto first = receive_message(line.there.get());
  REQUIRE(first.has_value());
  CHECK(first->text == "database");
  REQUIRE(first->descriptors.size() == 2);
  for (const Fd& fd : first->descriptors) {
    CHECK(fd.get() != one.get());
    CHECK((::fcntl(fd.get(), F_GETFD) & FD_CLOEXEC) != 0);
  }
  const auto second = receive_message(line.there.get());
  REQUIRE(second.has_value());
  CHECK(second->text == "done");
  CHECK(second->descriptors.empty());
}

TEST_CASE("as many descriptors as a message may have arrive with it") {
  const Line line;
  const std::vector<int> many(kDescriptorsPerMessage, STDERR_FILENO);
  REQUIRE(send_message(line.here.get(), "more", many));
  const auto message = receive_message(line.there.get());
  REQUIRE(message.has_value());
  CHECK(message->text == "more");
  CHECK(message->descriptors.size() == kDescriptorsPerMessage);
}

TEST_CASE("a message with more descriptors than there is room for is as none at all") {
  const Line line;
  // A peer that does not keep to the limit.
  const std::string text = "sockets";
  std::vector<char> control(CMSG_SPACE((kDescriptorsPerMessage + 1) * sizeof(int)));
  std::vector<int> many(kDescriptorsPerMessage + 1, STDERR_FILENO);
  std::string copy = text;
  iovec bytes{.iov_base = copy.data(), .iov_len = copy.size()};
  msghdr header{};
  header.msg_iov = &bytes;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  cmsghdr* const part = CMSG_FIRSTHDR(&header);
  part->cmsg_level = SOL_SOCKET;
  part->cmsg_type = SCM_RIGHTS;
  part->cmsg_len = CMSG_LEN(many.size() * sizeof(int));
  std::memcpy(CMSG_DATA(part), many.data(), many.size() * sizeof(int));
  REQUIRE(::sendmsg(line.here.get(), &header, 0) == std::ssize(text));
  const auto message = receive_message(line.there.get());
  REQUIRE(message.has_value());
  CHECK(message->text.empty());
  CHECK(message->descriptors.empty());
}

TEST_CASE("a text that is too long is cut, and never a second message") {
  const Line line;
  CHECK(send_message(line.here.get(), std::string(kMessageBytesMax + 100, 'x')));
  std::string got(2 * kMessageBytesMax, '-');
  CHECK(::recv(line.there.get(), got.data(), got.size(), 0) == std::ssize(got) / 2);
  CHECK(got.starts_with(std::string(kMessageBytesMax, 'x') + '-'));
  CHECK(::recv(line.there.get(), got.data(), got.size(), MSG_DONTWAIT) == -1);
}

TEST_CASE("a side that is gone is told apart from one that says nothing in time") {
  Line line;
  const timeval soon{.tv_sec = 0, .tv_usec = 1000};
  REQUIRE(::setsockopt(line.there.get(), SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon) == 0);
  CHECK_FALSE(receive_message(line.there.get()).has_value());
  line.here.reset();
  const auto message = receive_message(line.there.get());
  REQUIRE(message.has_value());
  CHECK(message->text.empty());
  CHECK_FALSE(send_message(line.there.get(), "done"));
}

TEST_CASE("files beside a database are those beside the file that a link leads to") {
  const test::TempDir directory;
  std::filesystem::create_directory(directory.file("data"));
  test::write_file(directory.file("data/real.db"), "");
  std::filesystem::create_symlink("data/real.db", directory.file("link.db"));
  CHECK(handover_path(directory.file("link.db")) == directory.file("data/real.db.handover"));
  CHECK(beside_database(directory.file("new.db"), ".lock") == directory.file("new.db.lock"));
}

TEST_CASE("who listens takes the place of a socket, of no other file, and lets nobody else in") {
  const test::TempDir directory;
  const std::string path = directory.file("mc-proxy.db.handover");
  CHECK_FALSE(connect_at(path));
  const Fd first = listen_at(path);
  REQUIRE(first);
  CHECK(test::mode_of(path) == 0600);
  const Fd second = listen_at(path);
  CHECK(second);
  CHECK(connect_at(path));
  test::write_file(directory.file("precious"), "content");
  CHECK_FALSE(listen_at(directory.file("precious")));
  CHECK(test::read_file(directory.file("precious")) == "content");
}

TEST_CASE("a path longer than a socket's address serves all the same") {
  const test::TempDir directory;
  const std::string deep = directory.file(std::string(150, 'd'));
  std::filesystem::create_directory(deep);
  const Fd listener = listen_at(deep + "/mc-proxy.db.handover");
  CHECK(listener);
  CHECK(connect_at(deep + "/mc-proxy.db.handover"));
}

}  // namespace mc::lifecycle
