// SPDX-License-Identifier: Apache-2.0
#include "lifecycle/notifier.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <string>
#include <vector>

#include "lifecycle/handover_wire.hpp"
#include "lifecycle/limits.hpp"
#include "support/catch.hpp"

namespace mc::lifecycle {
namespace {

// A notifier, and what its keeper gets to hear.
class Scene {
 public:
  /// The next message; "" if there is none.
  Message heard() {
    auto message = receive_message(ends_[0].get());
    return message.has_value() ? *std::move(message) : Message{};
  }

 private:
  static std::array<Fd, 2> line() {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    return {Fd(ends[0]), Fd(ends[1])};
  }

  const std::array<Fd, 2> ends_ = line();

 public:
  Notifier notifier{ends_[1].get()};
};

}  // namespace

TEST_CASE("the manager is told what it acts on, in its own words") {
  Scene scene;
  scene.notifier.ready();
  CHECK(scene.heard().text == "READY=1");
  scene.notifier.reloading();
  const std::string reloading = scene.heard().text;
  CHECK(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="));
  CHECK(std::stoull(reloading.substr(reloading.rfind('=') + 1)) > 0);
  scene.notifier.stopping();
  CHECK(scene.heard().text == "STOPPING=1");
  scene.notifier.watchdog();
  CHECK(scene.heard().text == "WATCHDOG=1");
}

TEST_CASE("a status is told when it is another one") {
  Scene scene;
  scene.notifier.status("serving");
  scene.notifier.status("serving");
  scene.notifier.status("draining");
  scene.notifier.status("serving");
  CHECK(scene.heard().text == "STATUS=serving");
  CHECK(scene.heard().text == "STATUS=draining");
  CHECK(scene.heard().text == "STATUS=serving");
  CHECK(scene.heard().text.empty());
}

TEST_CASE(
    "sockets are stored by address, under a name without colons, and no more at a time "
    "than a message carries") {
  Scene scene;
  const auto one = *SocketAddress::parse_listen("[::1]:443");
  const auto other = *SocketAddress::parse_listen("127.0.0.1:8443");
  std::vector<StoredSocket> sockets(kDescriptorsPerMessage + 1, {STDERR_FILENO, one});
  sockets.push_back({STDERR_FILENO, other});
  scene.notifier.store(sockets);
  const auto expect = [&scene](const char* name, std::size_t count) {
    const Message message = scene.heard();
    CHECK(message.text == std::string("FDSTORE=1\nFDNAME=") + name);
    CHECK(message.descriptors.size() == count);
  };
  expect("[__1]_443", kDescriptorsPerMessage);
  expect("[__1]_443", 1);
  expect("127.0.0.1_8443", 1);
  CHECK(scene.heard().text.empty());
  scene.notifier.forget(one);
  CHECK(scene.heard().text == "FDSTOREREMOVE=1\nFDNAME=[__1]_443");
}

TEST_CASE("a server that the keeper has left says nothing any more") {
  Scene scene;
  scene.notifier.mute();
  scene.notifier.ready();
  scene.notifier.status("serving");
  scene.notifier.forget(*SocketAddress::parse_listen("127.0.0.1:8443"));
  CHECK(scene.heard().text.empty());
}

}  // namespace mc::lifecycle
