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

// Some lines take a writer microseconds; a terminal or a pipe that is full gets no more time.
constexpr int kLastLinesMs = 200;

// Without the heap: there may be none left.
void write_reason(const char* what, const char* remedy) {
  char text[512];
  const int length = std::snprintf(text, sizeof text, "mc-proxy: ended: %s%s\n", what, remedy);
  const auto shown = static_cast<std::size_t>(std::clamp<int>(length, 0, sizeof text - 1));
  [[maybe_unused]] const auto ignored = ::write(STDERR_FILENO, text, shown);
}

[[noreturn]] void say_why() {
  try {
    if (const auto exception = std::current_exception()) std::rethrow_exception(exception);
    write_reason("std::terminate was called", "");
  } catch (const std::bad_alloc&) {
    write_reason("no memory can be had",
                 "; raise the limit (systemd: MemoryMax=, LimitAS=; ulimit -v)");
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

// poll(2) may be called in a handler (signal-safety(7)).
void wait_for_the_log(int signal) {
  static_cast<void>(::poll(nullptr, 0, kLastLinesMs));
  std::signal(signal, SIG_DFL);
  static_cast<void>(std::raise(signal));
}

}  // namespace

void install_last_words() {
  std::set_terminate(say_why);
  std::signal(SIGABRT, wait_for_the_log);
}

}  // namespace mc::app
