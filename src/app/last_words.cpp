// SPDX-License-Identifier: Apache-2.0
#include "app/last_words.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <system_error>

namespace mc::app {
namespace {

// A writer takes microseconds for some lines; a full terminal or pipe gets no more than this.
constexpr int kLastLinesMs = 200;

// Whether the reason is written, so that the abort that follows adds none.
volatile std::sig_atomic_t reason_written = 0;

// Without the heap: there may be none left.
void write_reason(const char* what, const char* remedy) {
  reason_written = 1;
  char text[512];
  const int length = std::snprintf(text, sizeof text, "mc-proxy: ended: %s%s\n", what, remedy);
  const auto shown = static_cast<std::size_t>(std::clamp<int>(length, 0, sizeof text - 1));
  [[maybe_unused]] const auto ignored = ::write(STDERR_FILENO, text, shown);
}

[[noreturn]] void log_cause() {
  try {
    if (const auto exception = std::current_exception()) std::rethrow_exception(exception);
    write_reason("std::terminate was called", "");
  } catch (const std::bad_alloc&) {
    write_reason("out of memory", "; raise the limit (systemd: MemoryMax=, LimitAS=; ulimit -v)");
  } catch (const std::system_error& error) {
    const bool no_thread = error.code() == std::errc::resource_unavailable_try_again;
    write_reason(no_thread ? "a thread cannot be started" : error.what(),
                 no_thread ? "; raise the limit on tasks (systemd: TasksMax=; ulimit -u) or on "
                             "address space (LimitAS=; ulimit -v)"
                           : "");
  } catch (const std::exception& error) {
    write_reason(error.what(), "");
  } catch (...) {
    write_reason("an unknown exception", "");
  }
  std::abort();
}

// A library that aborts has logged why, as gRPC does when it can start no thread. An outside sender
// of SIGABRT, such as systemd's watchdog, knows why. signal-safety(7) allows these calls.
void end_after_the_log(int signal, siginfo_t* info, void* /*context*/) {
  static_cast<void>(::poll(nullptr, 0, kLastLinesMs));
  static constexpr char kAborted[] =
      "mc-proxy: ended: a check of the program or of a library failed, see the lines before; if "
      "they are about threads or memory, raise the limit on tasks (systemd: TasksMax=; ulimit -u) "
      "or on address space (LimitAS=; ulimit -v)\n";
  const bool own_abort = info->si_code == SI_TKILL && info->si_pid == ::getpid();
  if (own_abort && reason_written == 0) {
    [[maybe_unused]] const auto ignored = ::write(STDERR_FILENO, kAborted, sizeof kAborted - 1);
  }
  std::signal(signal, SIG_DFL);
  static_cast<void>(std::raise(signal));
}

}  // namespace

void install_last_words() {
  std::set_terminate(log_cause);
  struct sigaction action{};
  action.sa_sigaction = end_after_the_log;
  action.sa_flags = SA_SIGINFO;
  static_cast<void>(::sigaction(SIGABRT, &action, nullptr));
}

}  // namespace mc::app
