// SPDX-License-Identifier: Apache-2.0
#include "metrics/endpoint.hpp"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <string>
#include <vector>

#include "base/descriptor_limit.hpp"
#include "support/catch.hpp"
#include "support/descriptors.hpp"

namespace mc::metrics {
namespace {

constexpr std::string_view kScrape = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";

SocketAddress any_port() { return *SocketAddress::parse_listen("127.0.0.1:0"); }

std::unique_ptr<Endpoint> serve(Endpoint::Text text) {
  auto started = Endpoint::start(*open_listener(any_port()), std::move(text));
  REQUIRE(started.has_value());
  return *std::move(started);
}

class Client {
 public:
  Client() {
    const timeval patience{.tv_sec = 20, .tv_usec = 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }
  explicit Client(const SocketAddress& server) : Client() { connect(server); }
  void connect(const SocketAddress& server) const {
    REQUIRE(::connect(fd_.get(), server.data(), server.size()) == 0);
  }
  /// Keeps the descriptor, so that nothing else gets its number.
  void close() const { ::shutdown(fd_.get(), SHUT_RDWR); }
  void send(std::string_view bytes) const {
    REQUIRE(::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == std::ssize(bytes));
  }
  /// Everything up to the end of the stream, or to a reset.
  [[nodiscard]] std::string rest() const {
    std::string all;
    std::array<char, 65536> buffer;
    for (;;) {
      const ssize_t got = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
      if (got < 0) all += " (reset)";
      if (got <= 0) return all;
      all.append(buffer.data(), static_cast<std::size_t>(got));
    }
  }
  [[nodiscard]] std::string ask(std::string_view bytes) const {
    send(bytes);
    return rest();
  }

 private:
  Fd fd_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
};

TEST_CASE("a scrape gets the text, in whatever pieces it asks") {
  const auto endpoint = serve([] { return std::string("up 1\n"); });
  const Client client(endpoint->address());
  for (const char byte : kScrape) client.send({&byte, 1});
  const std::string answer = client.rest();
  CHECK(answer.starts_with("HTTP/1.1 200 OK\r\n"));
  CHECK(answer.ends_with("\r\n\r\nup 1\n"));
}

TEST_CASE("a large text arrives whole at a slow reader, and holds up nobody") {
  const std::string text(32U << 20, 'x');
  const auto endpoint = serve([&text] { return text; });
  const Client slow(endpoint->address());
  slow.send(kScrape);
  CHECK(Client(endpoint->address()).ask("GET / HTTP/1.1\r\n\r\n").contains("404 Not Found"));
  const std::string answer = slow.rest();
  CHECK(answer.ends_with(text));
  CHECK(answer.size() > text.size());
}

TEST_CASE("what a client sends beyond its request does not cost it the answer") {
  const auto endpoint = serve([] { return std::string("up 1\n"); });
  const Client client(endpoint->address());
  const std::string body(100'000, 'x');
  const std::string answer = client.ask("POST /metrics HTTP/1.1\r\n\r\n" + body);
  CHECK(answer.contains("405 Method Not Allowed"));
  CHECK_FALSE(answer.ends_with("(reset)"));
}

TEST_CASE("silent connections make way for those that ask") {
  const auto endpoint = serve([] { return std::string("up 1\n"); });
  std::vector<Client> silent;
  for (std::size_t i = 0; i < kConnectionsMax + 3; ++i) silent.emplace_back(endpoint->address());
  CHECK(Client(endpoint->address()).ask(kScrape).ends_with("up 1\n"));
  CHECK(silent.front().rest().empty());
  CHECK(silent.back().ask(kScrape).ends_with("up 1\n"));
}

TEST_CASE("scrapes in a row share a text for a moment") {
  std::atomic<int> made = 0;
  const auto endpoint = serve([&made] { return std::to_string(++made) + "\n"; });
  const auto begun = std::chrono::steady_clock::now();
  for (int i = 0; i < 100; ++i) {
    CHECK(Client(endpoint->address()).ask(kScrape).starts_with("HTTP/1.1 200 OK"));
  }
  const auto taken = std::chrono::steady_clock::now() - begun;
  CHECK(made <= 1 + taken / kTextAgeMax);
}

// Takes all remaining descriptors of the process while it lives.
class NoDescriptors {
 public:
  NoDescriptors() {
    while (taken_.empty() || taken_.back()) {
      taken_.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    }
    REQUIRE(errno == EMFILE);
  }

 private:
  test::DescriptorsBelow few_{256};
  std::vector<Fd> taken_;
};

TEST_CASE("scrapes are answered when descriptors have run out, one after the other") {
  raise_descriptor_limit();
  const auto endpoint = serve([] { return std::string("up 1\n"); });
  std::vector<Client> clients;
  for (int i = 0; i < 3; ++i) clients.emplace_back();
  const NoDescriptors none;
  for (Client& client : clients) {
    client.connect(endpoint->address());
    CHECK(client.ask(kScrape).ends_with("up 1\n"));
    client.close();
  }
}

TEST_CASE("an endpoint ends at once, whatever its clients do") {
  const std::string text(32U << 20, 'x');
  auto endpoint = serve([&text] { return text; });
  const Client silent(endpoint->address());
  const Client slow(endpoint->address());
  slow.send(kScrape);
  const auto begun = std::chrono::steady_clock::now();
  endpoint.reset();
  CHECK(std::chrono::steady_clock::now() - begun < kAnswerWaitMax / 2);
  CHECK_FALSE(silent.rest().contains("HTTP"));  // whether it was accepted yet or not
  CHECK(slow.rest().size() < text.size());
}

TEST_CASE("an address that is taken is named with its key, and the remedy") {
  const auto endpoint = serve([] { return std::string(); });
  const auto second = open_listener(endpoint->address());
  REQUIRE_FALSE(second.has_value());
  const std::string& message = second.error().message;
  CHECK(message.contains("metrics.addr \"" + endpoint->address().to_string() + "\""));
  CHECK(message.contains("address already in use"));
  CHECK(message.contains("ss -tlnp"));
}

}  // namespace
}  // namespace mc::metrics
