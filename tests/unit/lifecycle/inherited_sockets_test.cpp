// SPDX-License-Identifier: Apache-2.0
#include "lifecycle/inherited_sockets.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/files.hpp"
#include "unit/net/loopback.hpp"

namespace mc::lifecycle {

using test::address_of;
using test::listening_socket;

TEST_CASE("inherited sockets are found by address, twins and what does not listen are left out") {
  Fd first = listening_socket();
  const SocketAddress address = address_of(first);
  Fd twin(::dup(first.get()));
  Fd silent(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  Fd other = listening_socket();
  const SocketAddress other_address = address_of(other);
  std::vector<Fd> all;
  for (Fd* fd : {&first, &twin, &silent, &other}) all.push_back(std::move(*fd));
  InheritedSockets inherited;
  inherited.add(std::move(all));
  CHECK(inherited.size() == 2);
  const std::vector<Fd> taken = inherited.take(address);
  REQUIRE(taken.size() == 1);
  // A blocking one would hold up whoever looks whether a client waits.
  CHECK((::fcntl(taken[0].get(), F_GETFL) & O_NONBLOCK) != 0);
  CHECK(inherited.take(address).empty());
  CHECK(inherited.tcp_addresses() == std::vector{other_address});
}

TEST_CASE("an inherited Unix socket is found by its path") {
  const test::TempDir directory;
  const std::string path = directory.file("a.sock");
  std::vector<Fd> sockets;
  sockets.emplace_back(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  path.copy(address.sun_path, path.size());
  REQUIRE(::bind(sockets[0].get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  REQUIRE(::listen(sockets[0].get(), 1) == 0);
  InheritedSockets inherited;
  inherited.add(std::move(sockets));
  CHECK_FALSE(inherited.take_unix(directory.file("b.sock")));
  CHECK(inherited.tcp_addresses().empty());
  CHECK(inherited.take_unix(path));
  CHECK(inherited.size() == 0);
}

}  // namespace mc::lifecycle
