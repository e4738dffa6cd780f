// SPDX-License-Identifier: Apache-2.0
// What it costs to move one piece of payload from socket to socket as a relay does: lease a pipe,
// splice into it, splice out of it, return it. Beside it, in turns, what most proxies do: recv and
// send through a buffer of one's own. Real TCP over loopback. Filling the first socket and emptying
// the last are not in the figures; the kernel's delivery to the last is, in both. "ratio" is the
// pipe's time by the copy's: above 1 the copy is faster.

#include <arpa/inet.h>
#include <benchmark/benchmark.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

#include "../beside.hpp"
#include "base/fd.hpp"
#include "proxy/limits.hpp"
#include "proxy/pipe_pool.hpp"
#include "proxy/splice_engine.hpp"
#include "ring/event.hpp"
#include "ring/loop.hpp"

namespace mc::proxy {
namespace {

using bench::seconds_of;

int check(int result) {
  if (result < 0) std::abort();
  return result;
}

struct Connection {
  Fd near, far;
};

/// Both ends of a TCP connection over loopback; `far` does not block.
Connection connection() {
  const Fd listener(check(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  check(::bind(listener.get(), generic, size));
  check(::listen(listener.get(), 1));
  check(::getsockname(listener.get(), generic, &size));
  Fd near(check(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)));
  check(::connect(near.get(), generic, size));
  Fd far(check(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)));
  const int one = 1;
  for (const Fd* end : {&near, &far}) {
    check(::setsockopt(end->get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one));
  }
  return {std::move(near), std::move(far)};
}

void wait_for(int fd, short events) {
  pollfd wanted{.fd = fd, .events = events, .revents = 0};
  check(::poll(&wanted, 1, -1));
}

/// Client, the proxy's two sockets, backend; and what a worker has to move bytes with.
class Path {
 public:
  explicit Path(std::size_t size) : message_(size, 'x'), buffer_(kCopyBytes) {
    auto loop = ring::Loop::create();
    if (!loop.has_value()) std::abort();
    loop_ = *std::move(loop);
    event_ = std::make_unique<ring::Event>(*loop_);
    pipes_ = std::make_unique<PipePool>(*loop_, kPipesPerWorker);
  }

  /// The message is in the first of the proxy's sockets, whole.
  void fill() {
    if (::send(client_.near.get(), message_.data(), message_.size(), 0) !=
        static_cast<ssize_t>(message_.size())) {
      std::abort();
    }
    const int whole = static_cast<int>(message_.size());
    check(::setsockopt(client_.far.get(), SOL_SOCKET, SO_RCVLOWAT, &whole, sizeof whole));
    wait_for(client_.far.get(), POLLIN);
  }

  void by_pipe() {
    for (std::size_t moved = 0; moved < message_.size();) {
      const PipeLease pipe = pipes_->acquire();
      const int in = splice(*pipe, client_.far.get(), pipe->write_end.get(), pipe->capacity);
      pipe->bytes = static_cast<std::size_t>(in);
      while (pipe->bytes > 0) {
        const int out = splice(*pipe, pipe->read_end.get(), backend_.far.get(), pipe->bytes);
        pipe->bytes -= static_cast<std::size_t>(out);
      }
      moved += static_cast<std::size_t>(in);
    }
  }

  void by_copy() {
    for (std::size_t moved = 0; moved < message_.size();) {
      const auto got = ::recv(client_.far.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
      if (got <= 0) std::abort();
      for (ssize_t sent = 0; sent < got;) {
        const auto size = static_cast<std::size_t>(got - sent);
        const auto out = ::send(backend_.far.get(), buffer_.data() + sent, size, MSG_NOSIGNAL);
        if (out < 0) wait_for(backend_.far.get(), POLLOUT);
        sent += out < 0 ? 0 : out;
      }
      moved += static_cast<std::size_t>(got);
    }
  }

  /// Takes the message from the backend's end.
  void empty() {
    const auto taken = ::recv(backend_.near.get(), message_.data(), message_.size(), MSG_WAITALL);
    if (taken != static_cast<ssize_t>(message_.size())) std::abort();
  }

 private:
  int splice(Pipe& pipe, int from, int to, std::size_t size) {
    for (;;) {
      const auto moved = engine_->splice(pipe, from, to, size, *event_);
      if (moved.has_value() && *moved > 0) return *moved;
      if (moved != -EAGAIN) std::abort();
      wait_for(backend_.far.get(), POLLOUT);
    }
  }

  std::vector<char> message_;
  std::vector<char> buffer_;
  Connection client_ = connection();
  Connection backend_ = connection();
  std::unique_ptr<ring::Loop> loop_;
  std::unique_ptr<ring::Event> event_;
  std::unique_ptr<PipePool> pipes_;
  std::unique_ptr<SpliceEngine> engine_ = SpliceEngine::make(SpliceMode::kInline);
};

void pipe_cycle(benchmark::State& state) {
  Path path(static_cast<std::size_t>(state.range(0)));
  bench::Beside beside(state, 1);
  for (auto _ : state) {
    path.fill();
    const double seconds = seconds_of([&] { path.by_pipe(); });
    path.empty();
    path.fill();
    beside.add(seconds, seconds_of([&] { path.by_copy(); }));
    path.empty();
  }
  beside.report("pipe", "copy");
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(pipe_cycle)->ArgName("bytes")->Arg(128)->Arg(4 * 1024)->Arg(64 * 1024)->UseManualTime();

/// The pool alone: what a direction pays for not owning a pipe, beside making one each time.
void lease(benchmark::State& state) {
  auto loop = ring::Loop::create();
  if (!loop.has_value()) std::abort();
  PipePool pool(**loop, kPipesPerWorker);
  bench::Beside beside(state, 1);
  for (auto _ : state) {
    const double seconds = seconds_of([&] {
      const PipeLease pipe = pool.acquire();
      benchmark::DoNotOptimize(pipe.get());
    });
    beside.add(seconds, seconds_of([&] {
                 PipePool fresh(**loop, 1);
                 const PipeLease pipe = fresh.acquire();
                 benchmark::DoNotOptimize(pipe.get());
               }));
  }
  beside.report("pool", "new_pipe");
}
// A fixed number: for a second of leases it would make pipes for minutes.
BENCHMARK(lease)->UseManualTime()->Iterations(20'000);

}  // namespace
}  // namespace mc::proxy

BENCHMARK_MAIN();
