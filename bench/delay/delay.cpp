// SPDX-License-Identifier: Apache-2.0
// A network between two namespaces, for kernels without netem: makes a TAP device in each of them
// and carries frames from one to the other with loss, rate, delay and jitter, both ways alike.
//
//   a frame comes -> loss -> queue of the bottleneck (tail-drop) -> sent at the rate -> delay ->
//   out
//
// The order of frames is kept. Jitter is one draw from the uniform distribution for every 4 x
// JITTER of time, and a frame that would overtake leaves together with the one before it: a draw
// for each frame would let a dense flow see only the largest draws.
//
// Prints "ready" when both devices exist. Ends on SIGTERM, SIGINT or the end of its standard input;
// then it removes the devices and prints one line of JSON: what became of the frames. One thread, a
// system call for each read and write: some 2 Gbit/s of full frames. Give it a rate, or a sender
// overruns it and the kernel drops frames that are not counted here. bench/delay/check.py tests it.

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "base/fd.hpp"

namespace {

using Clock = std::chrono::steady_clock;
using Time = Clock::time_point;
using Nanoseconds = std::chrono::nanoseconds;
using mc::Fd;

// A frame of Ethernet with its usual 1500 bytes of payload and a VLAN tag has 1518.
constexpr std::size_t kFrameBytesMax = 2048;
// Frames on their way in one direction beyond those that wait for the bottleneck: 1 Gbit/s of full
// frames for 700 ms. Only frames in use take memory.
constexpr std::size_t kFramesInFlightMax = 1 << 16;
// Frames taken from one device before the other has its turn.
constexpr int kFramesPerTurn = 64;
// A typing mistake beyond it: no network is that slow.
constexpr double kDelayMsMax = 10'000;

struct Options {
  std::string tap_a, netns_a, tap_b, netns_b;
  double delay_ms = 0;
  double jitter_ms = 0;
  double loss_percent = 0;
  double rate_mbit = 0;  // 0: no bottleneck
  std::size_t queue_frames = 1000;
  std::uint64_t seed = 1;
};

int check(int result, const std::string& what) {
  if (result >= 0) return result;
  std::fprintf(stderr, "delay: %s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(1);
}

Nanoseconds from_ms(double ms) { return Nanoseconds(static_cast<std::int64_t>(ms * 1e6)); }

// ---- devices

Fd namespace_of(const std::string& path) {
  return Fd(check(::open(path.c_str(), O_RDONLY | O_CLOEXEC), path));
}

void enter(const Fd& space, const std::string& name) {
  check(::setns(space.get(), CLONE_NEWNET), "cannot enter the network namespace " + name);
}

/// A new TAP device in that namespace. It lives as long as the descriptor, and is down.
Fd make_tap(const std::string& device, const std::string& space, const Fd& home) {
  enter(namespace_of("/run/netns/" + space), space);
  Fd tap(check(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC), "/dev/net/tun"));
  ifreq request{};
  device.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  check(::ioctl(tap.get(), TUNSETIFF, &request), "cannot make the device " + device);
  enter(home, "of this process");
  return tap;
}

// ---- one direction

/// How much later or earlier than the delay frames of this moment leave.
class Jitter {
 public:
  Jitter(Nanoseconds most, std::uint64_t seed)
      : hold_(4 * most), draw_(-most.count(), most.count()), random_(seed) {}

  Nanoseconds at(Time now) {
    if (now >= until_) {
      current_ = Nanoseconds(draw_(random_));
      until_ = now + hold_;
    }
    return current_;
  }

 private:
  Nanoseconds hold_;
  std::uniform_int_distribution<std::int64_t> draw_;
  std::mt19937_64 random_;
  Nanoseconds current_{};
  Time until_{};
};

struct Counts {
  std::uint64_t forwarded = 0;  // frames
  std::uint64_t bytes = 0;      // of these
  std::uint64_t lost = 0;       // by --loss
  std::uint64_t dropped = 0;    // the queue was full, or the far device took no frame
  Nanoseconds latest{};         // the longest delay of a frame after its time: this process slept
};

/// Owns no device. Frames are in a ring, in order: [sent .. transmitted) have left the bottleneck
/// and travel, [transmitted .. taken) wait for it.
class Direction {
 public:
  Direction(const Options& options, int from, int to, std::uint64_t seed)
      : from_(from),
        to_(to),
        delay_(from_ms(options.delay_ms)),
        ns_per_byte_(options.rate_mbit > 0 ? 8000.0 / options.rate_mbit : 0),
        queue_max_(options.queue_frames),
        jitter_(from_ms(options.jitter_ms), seed),
        loss_(options.loss_percent / 100),
        random_(~seed),
        frames_(kFramesInFlightMax + options.queue_frames),
        bytes_(std::make_unique_for_overwrite<FrameBytes[]>(frames_.size())) {}

  [[nodiscard]] int from() const { return from_; }
  [[nodiscard]] const Counts& counts() const { return counts_; }

  /// Reads the frames that have come. True if there may be more.
  bool take(Time now) {
    for (int i = 0; i < kFramesPerTurn; ++i) {
      auto& bytes = bytes_[taken_ % frames_.size()];
      const ssize_t size = ::read(from_, bytes.data(), bytes.size());
      if (size <= 0) return false;
      place(now, static_cast<std::size_t>(size));
    }
    return true;
  }

  /// Sends the frames that are due.
  void give(Time now) {
    for (; sent_ < taken_; ++sent_) {
      const Frame& frame = frames_[sent_ % frames_.size()];
      if (frame.due > now) return;
      const auto& bytes = bytes_[sent_ % frames_.size()];
      counts_.latest = std::max<Nanoseconds>(counts_.latest, now - frame.due);
      if (::write(to_, bytes.data(), frame.size) < 0) {
        ++counts_.dropped;
      } else {
        ++counts_.forwarded;
        counts_.bytes += frame.size;
      }
    }
  }

  /// When give() has something to do next.
  [[nodiscard]] Time next() const {
    return sent_ < taken_ ? frames_[sent_ % frames_.size()].due : Time::max();
  }

 private:
  using FrameBytes = std::array<std::byte, kFrameBytesMax>;
  struct Frame {
    Time transmitted;  // its last bit has left the bottleneck
    Time due;
    std::size_t size;
  };

  /// Keeps or drops the frame in the ring's free place.
  void place(Time now, std::size_t size) {
    if (loss_(random_)) {
      ++counts_.lost;
      return;
    }
    transmitted_ = std::max(transmitted_, sent_);
    while (transmitted_ < taken_ && frames_[transmitted_ % frames_.size()].transmitted <= now) {
      ++transmitted_;
    }
    // One place of the ring stays free: the next frame is read into it before its fate is known.
    const bool ring_is_full = taken_ - sent_ + 1 >= frames_.size();
    if (taken_ - transmitted_ >= queue_max_ || ring_is_full) {
      ++counts_.dropped;
      return;
    }
    const Nanoseconds on_wire(static_cast<std::int64_t>(ns_per_byte_ * static_cast<double>(size)));
    bottleneck_free_ = std::max(bottleneck_free_, now) + on_wire;
    last_due_ = std::max(last_due_, bottleneck_free_ + delay_ + jitter_.at(now));
    frames_[taken_++ % frames_.size()] = {bottleneck_free_, last_due_, size};
  }

  int from_;
  int to_;
  Nanoseconds delay_;
  double ns_per_byte_;
  std::size_t queue_max_;
  Jitter jitter_;
  std::bernoulli_distribution loss_;
  std::mt19937_64 random_;
  std::vector<Frame> frames_;
  std::unique_ptr<FrameBytes[]> bytes_;
  // Counted since the beginning; the place in the ring is the remainder.
  std::uint64_t sent_ = 0;
  std::uint64_t transmitted_ = 0;
  std::uint64_t taken_ = 0;
  Time bottleneck_free_{};
  Time last_due_{};
  Counts counts_;
};

// ---- the whole

/// Readable when the process is to end.
Fd termination() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  check(::sigprocmask(SIG_BLOCK, &signals, nullptr), "sigprocmask");
  return Fd(check(::signalfd(-1, &signals, SFD_CLOEXEC), "signalfd"));
}

/// True at the end of standard input. Discards what is written there.
bool has_ended(int input) {
  std::array<char, 256> ignored{};
  return ::read(input, ignored.data(), ignored.size()) <= 0;
}

void forward(std::span<Direction, 2> directions, const Fd& asked_to_end) {
  std::array<pollfd, 4> polled{{{.fd = directions[0].from(), .events = POLLIN, .revents = 0},
                                {.fd = directions[1].from(), .events = POLLIN, .revents = 0},
                                {.fd = asked_to_end.get(), .events = POLLIN, .revents = 0},
                                {.fd = STDIN_FILENO, .events = POLLIN, .revents = 0}}};
  for (;;) {
    bool more = false;
    Time next = Time::max();
    for (Direction& direction : directions) {
      more |= direction.take(Clock::now());
      direction.give(Clock::now());
      next = std::min(next, direction.next());
    }
    const Nanoseconds left = more ? Nanoseconds(0) : std::max<Nanoseconds>(next - Clock::now(), {});
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left);
    const timespec wait{seconds.count(), (left - seconds).count()};
    const bool has_deadline = more || next != Time::max();
    const int ready =
        ::ppoll(polled.data(), polled.size(), has_deadline ? &wait : nullptr, nullptr);
    if (ready < 0 && errno != EINTR) check(ready, "ppoll");
    if (ready <= 0) continue;
    if (polled[2].revents != 0 || (polled[3].revents != 0 && has_ended(STDIN_FILENO))) return;
    // Its namespace was removed, and the device with it.
    if (((polled[0].revents | polled[1].revents) & POLLERR) != 0) return;
  }
}

void print(const char* name, const Counts& counts, const char* after) {
  const double latest_ms = static_cast<double>(counts.latest.count()) / 1e6;
  std::printf(
      "\"%s\": {\"forwarded\": %llu, \"bytes\": %llu, \"lost\": %llu, \"dropped\": %llu, "
      "\"latest_ms\": %.3f}%s",
      name, static_cast<unsigned long long>(counts.forwarded),
      static_cast<unsigned long long>(counts.bytes), static_cast<unsigned long long>(counts.lost),
      static_cast<unsigned long long>(counts.dropped), latest_ms, after);
}

void run(const Options& options) {
  const Fd asked_to_end = termination();
  const Fd home = namespace_of("/proc/self/ns/net");
  const Fd tap_a = make_tap(options.tap_a, options.netns_a, home);
  const Fd tap_b = make_tap(options.tap_b, options.netns_b, home);
  // Otherwise a wait ends up to 50 us late.
  check(::prctl(PR_SET_TIMERSLACK, 1), "PR_SET_TIMERSLACK");
  std::array<Direction, 2> directions{
      Direction(options, tap_a.get(), tap_b.get(), 2 * options.seed),
      Direction(options, tap_b.get(), tap_a.get(), 2 * options.seed + 1)};
  std::puts("ready");
  std::fflush(stdout);
  forward(directions, asked_to_end);
  std::printf("{");
  print("a_to_b", directions[0].counts(), ", ");
  print("b_to_a", directions[1].counts(), "}\n");
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Carries frames between two network namespaces, with delay, jitter, loss and rate.");
  const auto device_name = CLI::Validator(
      [](const std::string& name) {
        const bool fits = !name.empty() && name.size() < IFNAMSIZ;
        return fits ? std::string() : "a device's name has 1 to 15 characters";
      },
      "NAME");
  app.add_option("--tap-a", options.tap_a, "device to make in the first namespace")
      ->required()
      ->check(device_name);
  app.add_option("--netns-a", options.netns_a, "first namespace, of those of ip netns")->required();
  app.add_option("--tap-b", options.tap_b, "device to make in the second namespace")
      ->required()
      ->check(device_name);
  app.add_option("--netns-b", options.netns_b, "second namespace")->required();
  app.add_option("--delay", options.delay_ms, "milliseconds, each way")
      ->check(CLI::Range(0.0, kDelayMsMax));
  app.add_option("--jitter", options.jitter_ms, "milliseconds more or less, uniform, each way")
      ->check(CLI::Range(0.0, kDelayMsMax));
  app.add_option("--loss", options.loss_percent, "percent of the frames, each way")
      ->check(CLI::Range(0.0, 100.0));
  app.add_option("--rate", options.rate_mbit, "Mbit/s, each way; 0 for none")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--queue", options.queue_frames, "frames that wait for the rate; more are dropped")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  app.add_option("--seed", options.seed, "of loss and jitter")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  if (options.jitter_ms > options.delay_ms) {
    std::fputs("delay: --jitter is larger than --delay: no frame can leave before it came\n",
               stderr);
    return 2;
  }
  run(options);
}
