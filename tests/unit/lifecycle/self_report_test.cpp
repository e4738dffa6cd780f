// SPDX-License-Identifier: Apache-2.0
#include "lifecycle/self_report.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <ranges>
#include <string>
#include <vector>

#include "lifecycle/limits.hpp"
#include "support/catch.hpp"
#include "unit/net/loopback.hpp"

namespace mc::lifecycle {
namespace {

SelfReport read(const std::vector<std::string>& messages) {
  SelfReport report;
  for (const std::string& message : messages) add_message(report, message);
  return report;
}

}  // namespace

TEST_CASE("what a server tells of itself is read as it was meant") {
  const SelfReport told{.confinement = {.capabilities = "none",
                                        .landlock = "abi 3, below /srv",
                                        .seccomp = "filter",
                                        .rings = "restricted"},
                        .listening = {"192.0.2.1:443", "[::]:8443"}};
  const SelfReport got = read(to_messages(told));
  CHECK(got.confinement.capabilities == "none");
  CHECK(got.confinement.landlock == "abi 3, below /srv");
  CHECK(got.confinement.seccomp == "filter");
  CHECK(got.confinement.rings == "restricted");
  CHECK(got.listening == told.listening);
}

TEST_CASE("addresses take as many messages as they need, each short enough") {
  SelfReport told;
  for (int i = 0; i < 200; ++i) told.listening.push_back("192.0.2.1:" + std::to_string(10'000 + i));
  const auto messages = to_messages(told);
  CHECK(messages.size() > 5);
  CHECK(std::ranges::all_of(
      messages, [](const std::string& message) { return message.size() <= kMessageBytesMax; }));
  CHECK(read(messages).listening == told.listening);
}

TEST_CASE("more addresses than the messages hold are not told") {
  SelfReport told;
  for (int i = 0; i < 10'000; ++i) told.listening.push_back("192.0.2.1:" + std::to_string(i));
  const auto messages = to_messages(told);
  CHECK(messages.size() == kAboutMessagesMax);
  const auto listening = read(messages).listening;
  CHECK(listening.size() < told.listening.size());
  CHECK(std::ranges::equal(listening, told.listening | std::views::take(listening.size())));
}

TEST_CASE("a server's words cannot write on the terminal of whoever asks") {
  CHECK(read({"landlock \x1b[2J"}).confinement.landlock.find('\x1b') == std::string::npos);
}

TEST_CASE("what a later version tells of itself besides is passed over") {
  SelfReport report;
  for (const char* message :
       {"landlock abi 9", "moon full", "", "listening", "listening [::]:443"}) {
    add_message(report, message);
  }
  CHECK(report.confinement.landlock == "abi 9");
  CHECK(report.listening == std::vector<std::string>{"[::]:443"});
}

TEST_CASE("a server listens where its sockets of TCP are bound, each address once") {
  const Fd first = test::listening_socket();
  const Fd twin(::dup(first.get()));
  const Fd second = test::listening_socket();
  const Fd other(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  CHECK(listening_addresses({first.get(), twin.get(), other.get(), second.get(), -1}) ==
        std::vector{test::address_of(first).to_string(), test::address_of(second).to_string()});
}

}  // namespace mc::lifecycle
