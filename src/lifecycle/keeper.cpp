// SPDX-License-Identifier: Apache-2.0
#include "lifecycle/keeper.hpp"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "lifecycle/confinement.hpp"
#include "lifecycle/handover_wire.hpp"
#include "lifecycle/limits.hpp"
#include "lifecycle/notifier.hpp"
#include "lifecycle/service_job.hpp"

namespace mc::lifecycle {
namespace {

// The server's reply to kLeave; all other messages are for systemd.
constexpr std::string_view kLeft = "left";

constexpr int kLookAgainMs = 100;

sigset_t signals_of_interest() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGABRT}) sigaddset(&signals, signal);
  return signals;
}

// Ends as the server ended, so that systemd and the shell see the same status as without a keeper.
int end_like(int status) {
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  const int signal = WTERMSIG(status);
  std::signal(signal, SIG_DFL);
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, signal);
  ::sigprocmask(SIG_UNBLOCK, &one, nullptr);
  ::prctl(PR_SET_DUMPABLE, 0);  // the useful core is the server's
  ::raise(signal);
  return 128 + signal;
}

class Keeper {
 public:
  Keeper(Fd signals, Fd line, pid_t server)
      : signals_(std::move(signals)), line_(std::move(line)), server_(server) {}

  int run() {
    for (;;) {
      pollfd watched[] = {{.fd = signals_.get(), .events = POLLIN, .revents = 0},
                          {.fd = line_.get(), .events = POLLIN, .revents = 0}};
      if (give_up_at_ && Clock::now() >= *give_up_at_) return end_like(SIGABRT);
      if (::poll(watched, std::size(watched), give_up_at_ ? kLookAgainMs : -1) < 0) continue;
      if (watched[1].revents != 0) hear();
      if (is_left_) return 0;  // its reply came late
      signalfd_siginfo info{};
      if (watched[0].revents == 0 || ::read(signals_.get(), &info, sizeof info) != sizeof info) {
        continue;
      }
      if (take(static_cast<int>(info.ssi_signo))) return 0;
      int status = 0;
      if (::waitpid(server_, &status, WNOHANG) == server_) return end_like(status);
    }
  }

 private:
  // Returns whether the keeper may end.
  bool take(int signal) {
    switch (signal) {
      case SIGTERM:
      case SIGINT:
        if (std::exchange(stopping_, true)) {
          order(Order::kCut);
          return false;
        }
        if (is_restart() && leave()) return true;
        order(Order::kStop);
        return false;
      case SIGHUP:
        order(Order::kReload);
        return false;
      case SIGABRT:  // from the watchdog: the core must be that of the stuck process
        ::kill(server_, SIGABRT);
        ::kill(server_, SIGCONT);
        if (!give_up_at_) give_up_at_ = Clock::now() + kAbortMax;
        return false;
      default:
        return false;
    }
  }

  static bool is_restart() {
    const auto answer = restart_is_under_way();
    if (answer.has_value()) return *answer;
    std::fprintf(stderr,
                 "<4>mc-proxy: systemd did not report whether this is a restart (%s), so "
                 "connections get shutdown_timeout before the next start; is dbus installed?\n",
                 answer.error().message.c_str());
    return false;
  }

  void order(Order order) {
    const char text = static_cast<char>(order);
    static_cast<void>(::send(line_.get(), &text, sizeof text, MSG_NOSIGNAL | MSG_DONTWAIT));
  }

  // Returns whether the server releases the keeper.
  bool leave() {
    order(Order::kLeave);
    const auto give_up = Clock::now() + kLeaveMax;
    while (!is_left_ && line_ && Clock::now() < give_up) {
      pollfd answer{.fd = line_.get(), .events = POLLIN, .revents = 0};
      if (::poll(&answer, 1, kLookAgainMs) == 1) hear();
    }
    return is_left_;
  }

  void hear() {
    const auto message = receive_message(line_.get());
    if (!message.has_value()) return;
    if (message->text.empty()) {
      line_.reset();  // the server ends; SIGCHLD brings the status
    } else if (message->text == kLeft) {
      is_left_ = true;
    } else {
      std::vector<int> descriptors;
      for (const Fd& fd : message->descriptors) descriptors.push_back(fd.get());
      notify_manager(message->text, descriptors);
    }
  }

  Fd signals_;
  Fd line_;
  pid_t server_;
  bool stopping_ = false;
  bool is_left_ = false;
  std::optional<Instant> give_up_at_;  // waits for an end by SIGABRT
};

}  // namespace

Order KeeperLine::next() {
  char text = 0;
  const ssize_t size = ::recv(socket_.get(), &text, sizeof text, MSG_DONTWAIT);
  if (size == 1) return static_cast<Order>(text);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return Order::kNothing;
  is_gone_ = true;
  return Order::kStop;
}

void KeeperLine::let_go() {
  ::prctl(PR_SET_PDEATHSIG, 0);
  static_cast<void>(send_message(socket_.get(), kLeft));
  is_gone_ = true;
}

std::variant<KeeperLine, int> keep(InheritedSockets& sockets) {
  const sigset_t signals = signals_of_interest();
  sigset_t before;
  ::sigprocmask(SIG_BLOCK, &signals, &before);
  int line[2] = {-1, -1};
  Fd signal_fd(::signalfd(-1, &signals, SFD_CLOEXEC));
  if (!signal_fd ||
      ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, line) != 0) {
    std::fprintf(stderr, "mc-proxy: the keeper cannot be started: %s\n", std::strerror(errno));
    return 1;
  }
  Fd keepers_end(line[0]);
  Fd servers_end(line[1]);
  const pid_t keeper = ::getpid();
  const pid_t server = ::fork();
  if (server < 0) {
    std::fprintf(stderr, "mc-proxy: the keeper cannot start the server: %s\n",
                 std::strerror(errno));
    return 1;
  }
  if (server > 0) {
    servers_end.reset();
    sockets = {};
    static_cast<void>(give_up_capabilities());
    return Keeper(std::move(signal_fd), std::move(keepers_end), server).run();
  }
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != keeper) ::_exit(1);  // the keeper died before that
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  return KeeperLine(std::move(servers_end));
}

}  // namespace mc::lifecycle
