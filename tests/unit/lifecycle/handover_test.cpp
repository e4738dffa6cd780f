// SPDX-License-Identifier: Apache-2.0
#include "lifecycle/handover.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <future>
#include <string>
#include <utility>
#include <vector>

#include "lifecycle/confinement.hpp"
#include "lifecycle/handover_wire.hpp"
#include "lifecycle/inherited_sockets.hpp"
#include "lifecycle/predecessor.hpp"
#include "lifecycle/self_report.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "unit/net/loopback.hpp"

namespace mc::lifecycle {
namespace {

using test::address_of;
using test::listening_socket;

// A server that only records the calls.
class Notes final : public Incumbent {
 public:
  explicit Notes(std::vector<int> sockets) : sockets_(std::move(sockets)) {}

  std::vector<int> listening_sockets() override { return sockets_; }
  const Confinement& confinement() override { return confinement_; }
  void release_database() override { said += "release "; }
  void take_database_back() override { said += "take-back "; }
  void stop_accepting() override { said += "stop "; }
  void accept_again() override { said += "again "; }
  void succeeded_by(pid_t, Fd place) override {
    said += place ? "succeeded " : "succeeded without a place ";
  }
  void take_over_failed(const std::string&) override { said += "failed "; }

  std::string said;

 private:
  std::vector<int> sockets_;
  const Confinement confinement_{.capabilities = "none",
                                 .landlock = "abi 7",
                                 .seccomp = "80 system calls refused",
                                 .rings = "7 operations allowed"};
};

// The incumbent's thread is the test's: it turns until the successor's part has returned.
struct Scene {
  explicit Scene(std::vector<int> sockets, const Patience& limits = {})
      : patience(limits), notes(std::move(sockets)) {}
  Scene(const Scene&) = delete;
  Scene& operator=(const Scene&) = delete;

  template <class Part>
  void play(Part part) {
    auto done = std::async(std::launch::async, std::move(part));
    while (done.wait_for(std::chrono::seconds(0)) != std::future_status::ready) turn();
    done.get();
    turn();  // its last message, or its end
  }
  void turn() {
    pollfd event{.fd = handover->fd(), .events = POLLIN, .revents = 0};
    if (::poll(&event, 1, 50) == 1) handover->turn();
  }

  const Patience patience;
  test::TempDir directory;
  std::string database = directory.file("mc-proxy.db");
  Log log{{.level = LogLevel::kError, .priorities = LogPriorities::kNever}};
  Notes notes;
  std::unique_ptr<Handover> handover = std::move(*Handover::open(database, notes, log, patience));
};

}  // namespace

TEST_CASE("a successor gets every socket, more than one message carries, and takes over in steps") {
  std::vector<Fd> sockets;
  std::vector<int> numbers;
  for (int i = 0; i < 300; ++i) {
    sockets.push_back(listening_socket());
    numbers.push_back(sockets.back().get());
  }
  Scene scene(numbers);
  std::vector<Fd> received;
  scene.play([&] {
    auto predecessor = Predecessor::find(scene.database);
    REQUIRE(predecessor.has_value());
    REQUIRE(*predecessor != nullptr);
    CHECK((*predecessor)->pid() == ::getpid());
    auto got = (*predecessor)->sockets();
    REQUIRE(got.has_value());
    received = *std::move(got);
    REQUIRE((*predecessor)->release_database().has_value());
    REQUIRE((*predecessor)->stop_accepting().has_value());
    REQUIRE((*predecessor)->step_down().has_value());
  });
  while (!scene.notes.said.ends_with("succeeded ")) scene.turn();
  CHECK(scene.notes.said == "release stop succeeded ");
  REQUIRE(received.size() == 300);
  for (std::size_t i = 0; i < received.size(); ++i) {
    CHECK(address_of(received[i]) == address_of(sockets[i]));
  }
}

TEST_CASE("a successor that goes away is undone as far as it came") {
  const int steps = GENERATE(0, 1, 2, 3);
  const std::vector<std::string> expected = {"", "failed ", "release take-back failed ",
                                             "release stop again take-back failed "};
  const Fd socket = listening_socket();
  Scene scene({socket.get()});
  scene.play([&] {
    const auto predecessor = *Predecessor::find(scene.database);
    if (steps >= 1) REQUIRE(predecessor->sockets().has_value());
    if (steps >= 2) REQUIRE(predecessor->release_database().has_value());
    if (steps >= 3) REQUIRE(predecessor->stop_accepting().has_value());
  });
  while (scene.notes.said.size() < expected[static_cast<std::size_t>(steps)].size()) scene.turn();
  CHECK(scene.notes.said == expected[static_cast<std::size_t>(steps)]);
  // The next successor finds everything as it was.
  scene.play([&] {
    const auto next = *Predecessor::find(scene.database);
    REQUIRE(next != nullptr);
    CHECK(next->sockets()->size() == 1);
  });
}

TEST_CASE("a successor that does not live to hear the last answer has not taken over") {
  const Fd socket = listening_socket();
  Scene scene({socket.get()});
  {
    const Fd successor = connect_at(handover_path(scene.database));
    scene.turn();
    for (const std::string_view request : {word::kSockets, word::kDatabase, word::kAccepting}) {
      REQUIRE(send_message(successor.get(), request));
      scene.turn();
      while (receive_message(successor.get())->text != word::kDone) continue;
    }
    REQUIRE(send_message(successor.get(), word::kStepDown));
  }
  CHECK(scene.handover->is_under_way());
  scene.turn();
  CHECK(scene.notes.said == "release stop again take-back failed ");
  CHECK_FALSE(scene.handover->is_under_way());
}

TEST_CASE("a successor that is silent is given up after its time, and not before") {
  const auto steps = GENERATE(0U, 1U, 2U, 3U);
  const std::string expected[] = {"", "failed ", "release take-back failed ",
                                  "release stop again take-back failed "};
  const Fd socket = listening_socket();
  constexpr std::chrono::milliseconds kShort{100};
  // Each limit applies to its own steps only.
  const Patience patience = steps == 0 ? Patience{.step = std::chrono::hours(1), .request = kShort}
                                       : Patience{.step = kShort, .request = std::chrono::hours(1)};
  Scene scene({socket.get()}, patience);
  const Fd successor = connect_at(handover_path(scene.database));
  scene.turn();
  const std::string_view requests[] = {word::kSockets, word::kDatabase, word::kAccepting};
  for (std::size_t i = 0; i < steps; ++i) {
    const std::string_view request = requests[i];
    REQUIRE(send_message(successor.get(), request));
    scene.turn();
    while (receive_message(successor.get())->text != word::kDone) continue;
  }
  const auto began = std::chrono::steady_clock::now();
  pollfd hangup{.fd = successor.get(), .events = POLLIN, .revents = 0};
  while (::poll(&hangup, 1, 5) == 0) {
    REQUIRE(std::chrono::steady_clock::now() < began + std::chrono::seconds(10));
    scene.handover->tick();
  }
  CHECK(std::chrono::steady_clock::now() >= began + kShort - std::chrono::milliseconds(20));
  CHECK(scene.notes.said == expected[steps]);
}

TEST_CASE("a predecessor that is silent is not waited for longer than a step may take") {
  Scene scene({}, {});
  const auto began = std::chrono::steady_clock::now();
  const auto predecessor = *Predecessor::find(
      scene.database,
      {.step = std::chrono::milliseconds(1100), .about = std::chrono::milliseconds(100)});
  REQUIRE(predecessor != nullptr);
  CHECK(predecessor->self_report().error().message == "no reply within 100ms");
  CHECK(std::chrono::steady_clock::now() < began + std::chrono::seconds(1));
  const auto second = *Predecessor::find(scene.database, {.step = std::chrono::milliseconds(1100)});
  const auto asked = second->sockets();
  REQUIRE_FALSE(asked.has_value());
  CHECK(asked.error().message.ends_with("did not hand over: no reply within 1.1s"));
  CHECK(std::chrono::steady_clock::now() < began + std::chrono::seconds(10));
}

TEST_CASE("steps in another order, or words of another version, are refused and change nothing") {
  const std::string_view request = GENERATE(as<std::string_view>{}, word::kDatabase,
                                            word::kStepDown, "mc-proxy handover 2: sockets", "x");
  Scene scene({});
  std::string answer;
  scene.play([&] {
    const Fd socket = connect_at(handover_path(scene.database));
    REQUIRE(send_message(socket.get(), request));
    answer = receive_message(socket.get())->text;
  });
  CHECK(answer == "its protocol is of another version");
  CHECK(scene.notes.said.empty());
}

TEST_CASE("a server tells of itself to whoever asks, and can still be succeeded") {
  // More addresses than fit into one message.
  std::vector<Fd> sockets;
  std::vector<int> numbers;
  std::vector<std::string> addresses;
  for (int i = 0; i < 150; ++i) {
    sockets.push_back(listening_socket());
    numbers.push_back(sockets.back().get());
    addresses.push_back(address_of(sockets.back()).to_string());
  }
  const Fd twin(::dup(numbers.front()));
  numbers.push_back(twin.get());
  Scene scene(numbers);
  SelfReport told;
  scene.play([&] {
    const auto predecessor = *Predecessor::find(scene.database);
    auto about = predecessor->self_report();
    REQUIRE(about.has_value());
    told = *std::move(about);
    CHECK(predecessor->sockets()->size() == 151);
  });
  CHECK(told.confinement.capabilities == "none");
  CHECK(told.confinement.landlock == "abi 7");
  CHECK(told.confinement.seccomp == "80 system calls refused");
  CHECK(told.confinement.rings == "7 operations allowed");
  CHECK(told.listening == addresses);
  CHECK(scene.notes.said == "failed ");  // the sockets were requested, but not taken over
}

TEST_CASE("a server of an earlier version, which does not tell of itself, is told apart") {
  const test::TempDir directory;
  const std::string database = directory.file("mc-proxy.db");
  const Fd listener = listen_at(handover_path(database));
  auto earlier = std::async(std::launch::async, [&] {
    const Fd socket(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    REQUIRE(receive_message(socket.get())->text == word::kAbout);
    REQUIRE(send_message(socket.get(), "its protocol is of another version"));
  });
  const auto predecessor = *Predecessor::find(database);
  REQUIRE(predecessor != nullptr);
  const auto about = predecessor->self_report();
  earlier.get();
  REQUIRE_FALSE(about.has_value());
  CHECK(about.error().message == "it is another version");
}

TEST_CASE("where no server runs there is no predecessor, also beside the socket of one that died") {
  const test::TempDir directory;
  const std::string database = directory.file("mc-proxy.db");
  CHECK(*Predecessor::find(database) == nullptr);
  listen_at(handover_path(database)).reset();  // the file stays
  CHECK(std::filesystem::exists(handover_path(database)));
  CHECK(*Predecessor::find(database) == nullptr);
}

}  // namespace mc::lifecycle
