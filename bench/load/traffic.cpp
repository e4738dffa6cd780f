// SPDX-License-Identifier: Apache-2.0
// Traffic for bench/peers, through any proxy that routes by SNI, or none. One thread on epoll.
//
//   traffic backend ADDRESS:PORT   reads a ClientHello and a request, and does what it requests
//   traffic run ADDRESS:PORT       opens connections of several kinds, lets them run, and prints
//                                  what they did in a window of time as one line of JSON
//   traffic hold ADDRESS:PORT      opens many connections at once, prints in one line of JSON how
//                                  long that took, and holds them until its standard input ends
//
// A connection begins with a real ClientHello. Two bytes follow: the request to the backend (E to
// echo, D to send for ever, U to take everything) and, for U, the size of the pieces that it
// acknowledges with one byte each, as a power of two. Everything after that is payload.
//
// The ends are made to cost little, so that the machine's time goes to what is measured: received
// bulk is dropped in the kernel (MSG_TRUNC, tcp(7)). tests/e2e/test_integrity.py checks that all
// bytes arrive, and in order.

#include <arpa/inet.h>
#include <sys/epoll.h>
#include <time.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <sstream>
#include <string_view>

#include "tcp.hpp"

namespace {

using namespace mc;
using load::check, load::tcp_socket;
using Clock = std::chrono::steady_clock;
using Time = Clock::time_point;

constexpr int kEventsMax = 256;
constexpr int kBacklog = 16384;
// Bytes that one connection moves before the next one's turn: little, for messages wait meanwhile.
constexpr std::size_t kBulkBytes = 128 * 1024;
constexpr std::size_t kRecordHeader = 5;  // RFC 8446 section 5.1
constexpr std::size_t kCommandBytes = 2;

sockaddr_in parse_address(const std::string& text) {
  const auto colon = text.rfind(':');
  sockaddr_in address{};
  address.sin_family = AF_INET;
  if (colon == std::string::npos ||
      ::inet_pton(AF_INET, text.substr(0, colon).c_str(), &address.sin_addr) != 1) {
    std::cerr << text << ": not an IPv4 address and a port\n";
    std::exit(2);
  }
  address.sin_port = htons(static_cast<std::uint16_t>(std::stoul(text.substr(colon + 1))));
  return address;
}

void watch(const Fd& epoll, int operation, int fd, std::uint32_t events, void* owner) {
  epoll_event event{.events = events, .data = {.ptr = owner}};
  check(::epoll_ctl(epoll.get(), operation, fd, &event), "epoll_ctl");
}

std::span<const char> payload() {
  static const std::vector<char> bytes(kBulkBytes, 'p');
  return bytes;
}

/// Sends payload until the socket takes no more or it is the next one's turn. False when it is
/// over.
bool send_bulk(int fd) {
  for (std::size_t sent = 0; sent < kBulkBytes;) {
    const ssize_t count = ::send(fd, payload().data(), kBulkBytes - sent, MSG_NOSIGNAL);
    if (count < 0) return errno == EAGAIN;
    sent += static_cast<std::size_t>(count);
  }
  return true;
}

/// The number of bytes; 0 when the connection is over, -1 when there are none yet.
ssize_t receive_bulk(int fd) {
  const ssize_t count = ::recv(fd, nullptr, kBulkBytes, MSG_TRUNC);
  return count < 0 && errno != EAGAIN ? 0 : count;
}

// ---- the backend

class Backend {
 public:
  explicit Backend(const sockaddr_in& address) {
    const int one = 1;
    ::setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    check(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
          "bind");
    check(::listen(listener_.get(), kBacklog), "listen");
    watch(epoll_, EPOLL_CTL_ADD, listener_.get(), EPOLLIN, nullptr);
  }

  [[noreturn]] void run() {
    std::cout << "ready" << std::endl;
    std::array<epoll_event, kEventsMax> events{};
    for (;;) {
      const int count = ::epoll_wait(epoll_.get(), events.data(), kEventsMax, -1);
      for (int i = 0; i < count; ++i) {
        const epoll_event& event = events[static_cast<std::size_t>(i)];
        if (event.data.ptr == nullptr) {
          accept_all();
          continue;
        }
        auto* const peer = static_cast<Peer*>(event.data.ptr);
        if (!serve(*peer, event.events)) delete peer;
      }
    }
  }

 private:
  struct Peer {
    Fd socket;
    std::string greeting;  // until it is whole
    char wanted = 0;
    unsigned unit = 0;
    std::uint64_t taken = 0;  // bytes of payload
  };

  void accept_all() {
    for (;;) {
      Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!fd) return;
      load::set_no_delay(fd.get());
      const int number = fd.get();
      // Owned by the epoll set, and deleted when serve() returns false.
      watch(epoll_, EPOLL_CTL_ADD, number, EPOLLIN, new Peer{.socket = std::move(fd)});
    }
  }

  // False when the connection is over.
  bool serve(Peer& peer, std::uint32_t events) {
    if (peer.wanted == 'D') return (events & EPOLLIN) == 0 && send_bulk(peer.socket.get());
    if (peer.wanted == 'U') {
      const ssize_t count = receive_bulk(peer.socket.get());
      return count < 0 || (count > 0 && acknowledge(peer, static_cast<std::size_t>(count)));
    }
    const ssize_t count = ::recv(peer.socket.get(), buffer_.data(), buffer_.size(), 0);
    if (count < 0) return errno == EAGAIN;
    if (count == 0) return false;
    const std::string_view bytes(buffer_.data(), static_cast<std::size_t>(count));
    return peer.wanted == 'E' ? echo(peer, bytes) : greet(peer, bytes);
  }

  // Drops a PROXY header of version 2, as a backend that reads one has to. False: it is not whole.
  static bool drop_proxy_header(std::string& greeting) {
    constexpr std::size_t kFixed = 16;
    if (!greeting.starts_with('\r')) return true;
    if (greeting.size() < kFixed) return false;
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(greeting[i]); };
    const std::size_t size = kFixed + (std::size_t{byte(14)} << 8) + byte(15);
    if (greeting.size() < size) return false;
    greeting.erase(0, size);
    return true;
  }

  bool greet(Peer& peer, std::string_view bytes) {
    peer.greeting += bytes;
    if (!drop_proxy_header(peer.greeting)) return true;
    if (peer.greeting.size() < kRecordHeader) return true;
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(peer.greeting[i]); };
    const std::size_t hello = kRecordHeader + (std::size_t{byte(3)} << 8) + byte(4);
    if (peer.greeting.size() < hello + kCommandBytes) return true;
    peer.wanted = peer.greeting[hello];
    peer.unit = byte(hello + 1);
    const std::string rest = peer.greeting.substr(hello + kCommandBytes);
    std::string().swap(peer.greeting);
    if (peer.wanted == 'E') return rest.empty() || echo(peer, rest);
    if (peer.wanted == 'U') return acknowledge(peer, rest.size());
    watch(epoll_, EPOLL_CTL_MOD, peer.socket.get(), EPOLLIN | EPOLLOUT, &peer);
    return true;
  }

  // Always fits the socket's buffer, because the client waits for it.
  static bool echo(Peer& peer, std::string_view bytes) {
    return ::send(peer.socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(bytes.size());
  }

  static bool acknowledge(Peer& peer, std::size_t count) {
    const std::uint64_t before = peer.taken >> peer.unit;
    peer.taken += count;
    const std::size_t pieces = (peer.taken >> peer.unit) - before;
    return pieces == 0 || ::send(peer.socket.get(), payload().data(), pieces, MSG_NOSIGNAL) > 0;
  }

  const Fd listener_ = tcp_socket();
  const Fd epoll_{check(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")};
  std::array<char, 64 * 1024> buffer_{};
};

// ---- processors

/// Seconds that processes have spent, with all their threads, also the ended ones and io_uring's
/// workers (clock_getcpuclockid(3): a clock of the kernel's for each process).
class CpuClocks {
 public:
  explicit CpuClocks(const std::vector<pid_t>& processes) : processes_(processes) {}

  [[nodiscard]] double seconds() const {
    double sum = 0;
    for (const pid_t process : processes_) {
      clockid_t clock{};
      timespec time{};
      if (::clock_getcpuclockid(process, &clock) != 0 || ::clock_gettime(clock, &time) != 0) {
        std::cerr << "process " << process << " has ended\n";
        std::exit(1);
      }
      sum += static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
    }
    return sum;
  }

 private:
  std::vector<pid_t> processes_;
};

/// Ticks of all processors: those spent, and all.
struct MachineTicks {
  double busy = 0;
  double all = 0;

  static MachineTicks now() {
    std::ifstream stat("/proc/stat");
    std::string word;
    stat >> word;
    constexpr int kFields = 8;  // proc_stat(5): user to steal; guest time is in user time already
    constexpr int kIdle = 3;
    constexpr int kIoWait = 4;
    MachineTicks ticks;
    for (int i = 0; i < kFields; ++i) {
      double value = 0;
      stat >> value;
      ticks.all += value;
      if (i != kIdle && i != kIoWait) ticks.busy += value;
    }
    return ticks;
  }
};

// ---- the client

enum class Kind : std::uint8_t { kDown, kUp, kPing, kConnect };
constexpr std::array kKinds{"down", "up", "ping", "connect"};

struct Options {
  std::string target;
  std::string hellos;
  std::array<std::size_t, kKinds.size()> connections{};
  std::size_t message_bytes = 128;
  unsigned unit = 22;
  double warm_up = 0.3;
  double seconds = 3;
  double patience = 20;
  bool resets = false;
  std::vector<pid_t> processes;
  std::size_t held = 9000;
  std::size_t at_once = 1024;
};

struct Tally {
  std::uint64_t bytes = 0;
  std::uint64_t errors = 0;
  std::vector<Clock::duration> latencies;
};

struct Flow {
  Fd socket;
  Kind kind = Kind::kDown;
  enum class State : std::uint8_t { kConnecting, kOpening, kRunning, kLost } state{};
  Time begun;
  std::size_t missing = 0;  // bytes until the reply is whole
};

class Client {
 public:
  explicit Client(const Options& options)
      : options_(options),
        target_(parse_address(options.target)),
        hellos_(load::read_hellos(options.hellos)),
        message_(options.message_bytes, 'm') {}

  /// Lets the flows run and prints what they did.
  int run() {
    make_flows();
    const Time patience = Clock::now() + duration(options_.patience);
    while (running_ + lost_ < staying_) {
      if (Clock::now() > patience) return fail("some connections did not come to run");
      turn(patience);
    }
    run_until(Clock::now() + duration(options_.warm_up));
    const CpuClocks clocks(options_.processes);
    for (Tally& tally : tallies_) tally = {};
    for (Tally& tally : tallies_) tally.latencies.reserve(1 << 20);
    const double cpu = clocks.seconds();
    const MachineTicks ticks = MachineTicks::now();
    const Time begun = Clock::now();
    run_until(begun + duration(options_.seconds));
    const double seconds = since(begun);
    const MachineTicks ticks_after = MachineTicks::now();
    const double cpu_after = clocks.seconds();
    std::cout << "{\"seconds\": " << seconds << ", \"cpu\": " << cpu_after - cpu
              << ", \"machine\": "
              << (ticks_after.busy - ticks.busy) / (ticks_after.all - ticks.all)
              << ", \"lost\": " << lost_;
    for (std::size_t i = 0; i < kKinds.size(); ++i) {
      if (options_.connections[i] > 0) std::cout << ", \"" << kKinds[i] << "\": " << json(i);
    }
    std::cout << "}" << std::endl;
    for (Flow& flow : flows_) load::reset_on_close(flow.socket.get());
    return 0;
  }

  /// Opens the connections and holds them.
  int hold() {
    flows_.resize(options_.held);
    const CpuClocks clocks(options_.processes);
    const double cpu = clocks.seconds();
    const Time begun = Clock::now();
    const Time patience = begun + duration(options_.patience);
    std::size_t next = 0;
    while (running_ + lost_ < flows_.size() && Clock::now() < patience) {
      for (; next < flows_.size() && next < running_ + lost_ + options_.at_once; ++next) {
        flows_[next].kind = Kind::kPing;
        connect(flows_[next]);
      }
      turn(patience);
    }
    auto& latencies = tally(Kind::kPing).latencies;
    std::cout << "{\"seconds\": " << since(begun) << ", \"cpu\": " << clocks.seconds() - cpu
              << ", \"opened\": " << running_ << ", \"wanted\": " << flows_.size()
              << ", \"p50_us\": " << load::percentile_us(latencies, 0.5)
              << ", \"p99_us\": " << load::percentile_us(latencies, 0.99) << "}" << std::endl;
    char byte = 0;
    while (::read(STDIN_FILENO, &byte, 1) > 0) {
    }
    for (Flow& flow : flows_) load::reset_on_close(flow.socket.get());
    return 0;
  }

 private:
  static Clock::duration duration(double seconds) {
    return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  }
  static double since(Time begun) {
    return std::chrono::duration<double>(Clock::now() - begun).count();
  }
  Tally& tally(Kind kind) { return tallies_[static_cast<std::size_t>(kind)]; }
  int fail(const char* what) const {
    std::cerr << what << ": " << running_ << " run, " << lost_ << " were lost, " << staying_
              << " were wanted\n";
    return 1;
  }

  void make_flows() {
    for (const std::size_t count : options_.connections) staying_ += count;
    flows_.resize(staying_);  // never again: epoll holds their addresses
    staying_ -= options_.connections[static_cast<std::size_t>(Kind::kConnect)];
    auto flow = flows_.begin();
    for (std::size_t i = 0; i < kKinds.size(); ++i) {
      for (std::size_t n = 0; n < options_.connections[i]; ++n, ++flow) {
        flow->kind = static_cast<Kind>(i);
        connect(*flow);
      }
    }
  }

  void run_until(Time end) {
    while (Clock::now() < end) turn(end);
  }

  void turn(Time end) {
    const auto rest = std::max(end - Clock::now(), Clock::duration(0));
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(rest);
    const timespec timeout{.tv_sec = seconds.count(), .tv_nsec = (rest - seconds).count()};
    std::array<epoll_event, kEventsMax> events{};
    const int count = ::epoll_pwait2(epoll_.get(), events.data(), kEventsMax, &timeout, nullptr);
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events[static_cast<std::size_t>(i)];
      advance(*static_cast<Flow*>(event.data.ptr), event.events);
    }
  }

  void connect(Flow& flow) {
    flow.socket = tcp_socket();
    flow.begun = Clock::now();
    flow.state = Flow::State::kConnecting;
    const int fd = flow.socket.get();
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&target_), sizeof target_) != 0 &&
        errno != EINPROGRESS) {
      check(-1, "connect");
    }
    watch(epoll_, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT, &flow);
  }

  void greet(Flow& flow) {
    std::string greeting = hellos_[next_hello_++ % hellos_.size()];
    constexpr std::array kWanted{'D', 'U', 'E', 'E'};
    greeting += kWanted[static_cast<std::size_t>(flow.kind)];
    greeting += static_cast<char>(options_.unit);
    if (is_echo(flow)) greeting += message_;
    flow.missing = message_.size();
    flow.state = Flow::State::kOpening;
    if (!send(flow, greeting)) return lose(flow);
    if (flow.kind == Kind::kUp) return begin(flow);
    watch(epoll_, EPOLL_CTL_MOD, flow.socket.get(), EPOLLIN, &flow);
  }

  static bool is_echo(const Flow& flow) {
    return flow.kind == Kind::kPing || flow.kind == Kind::kConnect;
  }
  static bool send(const Flow& flow, const std::string& bytes) {
    return ::send(flow.socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(bytes.size());
  }

  void begin(Flow& flow) {
    flow.state = Flow::State::kRunning;
    ++running_;
  }

  void advance(Flow& flow, std::uint32_t events) {
    if (flow.state == Flow::State::kConnecting) {
      return (events & (EPOLLERR | EPOLLHUP)) != 0 ? lose(flow) : greet(flow);
    }
    if ((events & (EPOLLERR | EPOLLHUP)) != 0) return lose(flow);
    if ((events & EPOLLIN) != 0) return is_echo(flow) ? take_echo(flow) : take_bulk(flow);
    if (flow.kind == Kind::kUp && !send_bulk(flow.socket.get())) lose(flow);
  }

  void take_bulk(Flow& flow) {
    const ssize_t count = receive_bulk(flow.socket.get());
    if (count == 0) return lose(flow);
    if (count < 0) return;
    if (flow.state == Flow::State::kOpening) begin(flow);
    const auto bytes = static_cast<std::uint64_t>(count);
    tally(flow.kind).bytes += flow.kind == Kind::kUp ? bytes << options_.unit : bytes;
  }

  void take_echo(Flow& flow) {
    const ssize_t count = ::recv(flow.socket.get(), buffer_.data(), flow.missing, 0);
    if (count < 0 && errno == EAGAIN) return;
    if (count <= 0) return lose(flow);
    flow.missing -= static_cast<std::size_t>(count);
    if (flow.missing > 0) return;
    tally(flow.kind).latencies.push_back(Clock::now() - flow.begun);
    if (flow.kind == Kind::kConnect) return reconnect(flow);
    if (flow.state == Flow::State::kOpening) begin(flow);
    if (staying_ == 0) return;  // to be held
    flow.begun = Clock::now();
    flow.missing = message_.size();
    if (!send(flow, message_)) lose(flow);
  }

  void reconnect(Flow& flow) {
    if (options_.resets) load::reset_on_close(flow.socket.get());
    connect(flow);
  }

  // A connection that was to stay is not made again: its loss is a result.
  void lose(Flow& flow) {
    ++tally(flow.kind).errors;
    load::reset_on_close(flow.socket.get());
    if (flow.kind == Kind::kConnect) return connect(flow);
    if (flow.state == Flow::State::kRunning) --running_;
    flow.state = Flow::State::kLost;
    flow.socket.reset();
    ++lost_;
  }

  std::string json(std::size_t kind) {
    Tally& tally = tallies_[kind];
    std::ostringstream out;
    out << "{\"bytes\": " << tally.bytes << ", \"errors\": " << tally.errors
        << ", \"count\": " << tally.latencies.size();
    for (const auto& [name, share] :
         {std::pair("p50_us", 0.5), std::pair("p99_us", 0.99), std::pair("p99.9_us", 0.999)}) {
      out << ", \"" << name << "\": " << load::percentile_us(tally.latencies, share);
    }
    out << '}';
    return out.str();
  }

  const Options& options_;
  const sockaddr_in target_;
  const std::vector<std::string> hellos_;
  const std::string message_;
  const Fd epoll_{check(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")};
  std::vector<Flow> flows_;
  std::array<Tally, kKinds.size()> tallies_;
  std::array<char, 64 * 1024> buffer_{};
  std::size_t staying_ = 0;  // how many connections are to last
  std::size_t running_ = 0;
  std::size_t lost_ = 0;
  std::size_t next_hello_ = 0;
};

void add_common_options(CLI::App& command, Options& options) {
  command.add_option("target", options.target, "Where to connect, ADDRESS:PORT")->required();
  command.add_option("--hellos", options.hellos, "File of ClientHellos, one record each")
      ->required();
  command.add_option("--cpu", options.processes, "Processes whose processor time counts");
  command.add_option("--patience", options.patience, "Seconds until all connections must run");
  command.add_option("--message", options.message_bytes, "Bytes of a message")
      ->check(CLI::Range(1, 65536));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Traffic for bench/peers, and the backend that it goes to");
  app.require_subcommand(1);
  Options options;
  CLI::App* const backend = app.add_subcommand("backend", "Serve what connections ask for");
  backend->add_option("address", options.target, "Where to listen, ADDRESS:PORT")->required();
  CLI::App* const run = app.add_subcommand("run", "Measure for a while");
  add_common_options(*run, options);
  constexpr std::array kHelp{"Connections that receive all the time",
                             "Connections that send all the time",
                             "Connections that send a message when the last one is back",
                             "Connections at a time that end with their first message"};
  for (std::size_t i = 0; i < kKinds.size(); ++i) {
    run->add_option(std::string("--") + kKinds[i], options.connections[i], kHelp[i]);
  }
  run->add_option("--unit", options.unit, "Of what is sent, log2 of the bytes of a piece");
  run->add_option("--warm-up", options.warm_up, "Seconds before the window");
  run->add_option("--seconds", options.seconds, "Seconds of the window");
  run->add_flag("--reset", options.resets, "End connections with RST");
  CLI::App* const hold = app.add_subcommand("hold", "Open many connections and hold them");
  add_common_options(*hold, options);
  hold->add_option("--connections", options.held, "How many");
  hold->add_option("--at-once", options.at_once, "How many may be on their way at a time");
  CLI11_PARSE(app, argc, argv);

  load::raise_descriptor_limit();
  if (backend->parsed()) std::make_unique<Backend>(parse_address(options.target))->run();
  const auto client = std::make_unique<Client>(options);
  return hold->parsed() ? client->hold() : client->run();
}
