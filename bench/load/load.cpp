// SPDX-License-Identifier: Apache-2.0
// Traffic for bench/control/run.py, and the backend that it goes to. One thread on epoll.
//
//   load echo    sends back what it receives; prints its port
//   load run     measures, through a proxy, round trips of one small message over connections that
//                stay, and whole new connections: connect, ClientHello, first byte back
//
// `run` reads orders from its standard input and ends with it:
//   begin R C    from now on R round trips and C new connections a second; 0 means as many as go
//                (each connection begins its next one when the last is done); - means none
//   end          prints what was begun since `begin`, and done by now, as one line of JSON
//
// At a given rate the latency counts from when the operation was due, so that one that had to wait
// for a late one before it is late too (no coordinated omission).

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fd.hpp"
#include "tcp.hpp"

namespace {

using Clock = std::chrono::steady_clock;
using Time = Clock::time_point;

using namespace mc;
using load::check, load::tcp_socket;

constexpr std::size_t kEventsMax = 256;
constexpr std::size_t kBufferBytes = 64 * 1024;
constexpr int kBacklog = 4096;

/// Edge-triggered: read until EAGAIN, and no call is needed to wait for more.
void watch(const Fd& epoll, int fd, void* owner) {
  epoll_event event{.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data = {.ptr = owner}};
  check(::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
}

// ---- the backend

/// False when the connection is over. The echo always fits into the socket's buffer, because its
/// client waits for it.
bool echo_what_came(int fd, std::array<char, kBufferBytes>& buffer) {
  for (;;) {
    const ssize_t count = ::recv(fd, buffer.data(), buffer.size(), 0);
    if (count < 0) return errno == EAGAIN;
    if (count == 0) return false;
    const auto received = static_cast<std::size_t>(count);
    if (::send(fd, buffer.data(), received, MSG_NOSIGNAL) != count) return false;
    if (received < buffer.size()) return true;
  }
}

void accept_all(const Fd& epoll, const Fd& listener) {
  for (;;) {
    const int fd = ::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    load::set_no_delay(fd);
    epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
    check(::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
  }
}

int echo() {
  const Fd listener = tcp_socket();
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  check(::bind(listener.get(), any, size), "bind");
  check(::listen(listener.get(), kBacklog), "listen");
  check(::getsockname(listener.get(), any, &size), "getsockname");
  std::cout << ntohs(address.sin_port) << std::endl;

  const Fd epoll(check(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1"));
  epoll_event event{.events = EPOLLIN, .data = {.fd = listener.get()}};
  check(::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, listener.get(), &event), "epoll_ctl");
  std::array<epoll_event, kEventsMax> events{};
  std::array<char, kBufferBytes> buffer{};
  for (;;) {
    const int count = ::epoll_wait(epoll.get(), events.data(), kEventsMax, -1);
    for (int i = 0; i < count; ++i) {
      const int fd = events[static_cast<std::size_t>(i)].data.fd;
      if (fd == listener.get()) {
        accept_all(epoll, listener);
      } else if (!echo_what_came(fd, buffer)) {
        ::close(fd);
      }
    }
  }
}

// ---- what is measured

/// When operations of one kind are due.
class Pace {
 public:
  /// "-", "0" or a number of operations a second.
  void set(const std::string& rate, Time now) {
    is_on_ = rate != "-";
    const double per_second = is_on_ ? std::stod(rate) : 0;
    interval_ = per_second == 0 ? Clock::duration(0)
                                : std::chrono::duration_cast<Clock::duration>(
                                      std::chrono::duration<double>(1 / per_second));
    next_ = now;
  }

  /// When the next one was due, if it was; moves the due time on.
  std::optional<Time> take() {
    if (!is_on_) return std::nullopt;
    const Time now = Clock::now();
    if (interval_ == Clock::duration(0)) return now;
    if (now < next_) return std::nullopt;
    return std::exchange(next_, next_ + interval_);
  }

  [[nodiscard]] Time next() const { return is_on_ ? next_ : Time::max(); }

 private:
  bool is_on_ = false;
  Clock::duration interval_{};
  Time next_{};
};

/// Latencies of the operations of one kind, of one block.
class Record {
 public:
  explicit Record(std::string name) : name_(std::move(name)) { latencies_.reserve(1'000'000); }

  void begin(Time now) {
    latencies_.clear();
    errors_ = 0;
    begun_ = now;
  }
  void success(Time due) {
    if (due >= begun_) latencies_.push_back(Clock::now() - due);
  }
  void error() { ++errors_; }

  std::string json(double seconds) {
    std::ostringstream out;
    out << '"' << name_ << "\": {\"count\": " << latencies_.size() << ", \"errors\": " << errors_
        << ", \"per_second\": " << static_cast<double>(latencies_.size()) / seconds;
    for (const auto& [key, share] : {std::pair("p50_us", 0.5), std::pair("p90_us", 0.9),
                                     std::pair("p99_us", 0.99), std::pair("p99.9_us", 0.999)}) {
      out << ", \"" << key << "\": " << load::percentile_us(latencies_, share);
    }
    out << '}';
    return out.str();
  }

 private:
  std::string name_;
  std::vector<Clock::duration> latencies_;
  std::size_t errors_ = 0;
  Time begun_ = Time::max();
};

/// One connection, or the place for one.
struct Client {
  enum class State { kIdle, kConnecting, kGreeting, kWaiting, kLost };

  Fd socket;
  State state = State::kIdle;
  bool stays = false;  // carries round trips; else it is closed after the first byte
  Time due;
  std::size_t missing = 0;  // bytes until the reply is whole
};

struct Options {
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;
  std::string hellos;  // a file with ClientHellos of one record each, taken in turn
  std::size_t established = 0;
  std::size_t connecting = 0;
  std::size_t message_bytes = 64;
};

class Load {
 public:
  explicit Load(const Options& options)
      : hellos_(load::read_hellos(options.hellos)), message_(options.message_bytes, 'm') {
    target_.sin_family = AF_INET;
    target_.sin_port = htons(options.port);
    check(::inet_pton(AF_INET, options.host.c_str(), &target_.sin_addr) - 1, "the host's address");
    // Never resized: epoll holds their addresses.
    clients_.resize(options.established + options.connecting);
    watch(epoll_, STDIN_FILENO, nullptr);
    for (std::size_t i = 0; i < clients_.size(); ++i) {
      clients_[i].stays = i < options.established;
      if (clients_[i].stays) {
        connect(clients_[i]);
      } else {
        without_connection_.push_back(&clients_[i]);
      }
    }
  }

  void run() {
    std::array<epoll_event, kEventsMax> events{};
    while (!is_over_) {
      begin_what_is_due();
      const auto wait = std::max(next_due() - Clock::now(), Clock::duration(0));
      const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(wait);
      const timespec timeout{.tv_sec = seconds.count(), .tv_nsec = (wait - seconds).count()};
      const int count = ::epoll_pwait2(epoll_.get(), events.data(), kEventsMax,
                                       next_due() == Time::max() ? nullptr : &timeout, nullptr);
      for (int i = 0; i < count; ++i) {
        const epoll_event& event = events[static_cast<std::size_t>(i)];
        if (event.data.ptr == nullptr) {
          obey();
        } else {
          advance(*static_cast<Client*>(event.data.ptr), event.events);
        }
      }
    }
  }

 private:
  // The one that was idle longest, so that all of them take part at any rate.
  static Client& take(std::deque<Client*>& idle) {
    Client* const client = idle.front();
    idle.pop_front();
    return *client;
  }

  // Time::max() if nothing is due before something comes.
  [[nodiscard]] Time next_due() const {
    return std::min(idle_.empty() ? Time::max() : round_trip_pace_.next(),
                    without_connection_.empty() ? Time::max() : connection_pace_.next());
  }

  void begin_what_is_due() {
    while (!idle_.empty()) {
      const auto due = round_trip_pace_.take();
      if (!due) break;
      Client& client = take(idle_);
      client.due = *due;
      client.state = Client::State::kWaiting;
      send(client, message_);
    }
    while (!without_connection_.empty()) {
      const auto due = connection_pace_.take();
      if (!due) break;
      Client& client = take(without_connection_);
      client.due = *due;
      connect(client);
    }
  }

  void connect(Client& client) {
    client.socket = tcp_socket();
    client.state = Client::State::kConnecting;
    const int done =
        ::connect(client.socket.get(), reinterpret_cast<const sockaddr*>(&target_), sizeof target_);
    if (done < 0 && errno != EINPROGRESS) check(done, "connect");
    watch(epoll_, client.socket.get(), &client);
  }

  void send(Client& client, const std::string& bytes) {
    client.missing = bytes.size();
    const ssize_t sent = ::send(client.socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent != static_cast<ssize_t>(bytes.size())) fail(client);
  }

  void advance(Client& client, std::uint32_t events) {
    if (client.state == Client::State::kConnecting) {
      if ((events & (EPOLLERR | EPOLLHUP)) != 0) return fail(client);
      if ((events & EPOLLOUT) == 0) return;
      client.state = Client::State::kGreeting;
      return send(client, hellos_[next_hello_++ % hellos_.size()]);
    }
    if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) == 0) return;
    const ssize_t count = ::recv(client.socket.get(), buffer_.data(), buffer_.size(), 0);
    if (count < 0 && errno == EAGAIN) return;
    if (count <= 0) return fail(client);
    if (!client.stays) return end_connection(client);
    client.missing -= std::min(client.missing, static_cast<std::size_t>(count));
    if (client.missing > 0) return;
    if (client.state == Client::State::kWaiting) round_trips_.success(client.due);
    rest(client);
  }

  void end_connection(Client& client) {
    connections_.success(client.due);
    close_at_once(client);
    rest(client);
  }

  static void close_at_once(Client& client) {
    load::reset_on_close(client.socket.get());
    client.socket.reset();
  }

  void rest(Client& client) {
    client.state = Client::State::kIdle;
    (client.stays ? idle_ : without_connection_).push_back(&client);
  }

  // A connection that was to stay is not made again: its loss is a result.
  void fail(Client& client) {
    close_at_once(client);
    (client.stays ? round_trips_ : connections_).error();
    if (client.stays) {
      client.state = Client::State::kLost;
    } else {
      rest(client);
    }
  }

  void obey() {
    const ssize_t count = ::read(STDIN_FILENO, buffer_.data(), buffer_.size());
    is_over_ = count <= 0;
    if (is_over_) return;
    std::istringstream line(std::string(buffer_.data(), static_cast<std::size_t>(count)));
    std::string word, round_trips, connections;
    line >> word >> round_trips >> connections;
    const Time now = Clock::now();
    if (word == "begin") {
      begun_ = now;
      round_trip_pace_.set(round_trips, now);
      connection_pace_.set(connections, now);
      round_trips_.begin(now);
      connections_.begin(now);
    } else if (word == "end") {
      const double seconds = std::chrono::duration<double>(now - begun_).count();
      std::cout << "{\"seconds\": " << seconds << ", " << round_trips_.json(seconds) << ", "
                << connections_.json(seconds) << '}' << std::endl;
    }
  }

  const Fd epoll_{check(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")};
  const std::vector<std::string> hellos_;
  const std::string message_;
  sockaddr_in target_{};
  std::array<char, kBufferBytes> buffer_{};

  std::vector<Client> clients_;
  std::deque<Client*> idle_;                // connections that wait for their next round trip
  std::deque<Client*> without_connection_;  // places for the next new connection
  std::size_t next_hello_ = 0;

  Pace round_trip_pace_, connection_pace_;
  Record round_trips_{"round_trips"}, connections_{"connections"};
  Time begun_;
  bool is_over_ = false;
};

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Traffic for bench/control/run.py, and the backend that it goes to");
  app.require_subcommand(1);
  app.add_subcommand("echo", "Send back what comes; print the port");
  Options options;
  CLI::App* const run = app.add_subcommand("run", "Make traffic as standard input says");
  run->add_option("--host", options.host, "IPv4 address of the proxy")->capture_default_str();
  run->add_option("--port", options.port, "Port of the proxy")->required();
  run->add_option("--hellos", options.hellos, "File of ClientHellos, one record each")->required();
  run->add_option("--established", options.established, "Connections that stay");
  run->add_option("--connecting", options.connecting, "New connections at one time");
  run->add_option("--message-bytes", options.message_bytes, "Bytes of a round trip's message");
  CLI11_PARSE(app, argc, argv);

  load::raise_descriptor_limit();
  ::prctl(PR_SET_TIMERSLACK, 1);  // rates are kept by sleeping
  if (!run->parsed()) return echo();
  std::make_unique<Load>(options)->run();
}
