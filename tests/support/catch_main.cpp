// SPDX-License-Identifier: Apache-2.0
// The main() of a test program, and the time limit of a test case: a test that hangs ends the
// program with its name on stderr. Catch2 version 3 brings its own main(), in the library
// Catch2Main.

#if __has_include(<catch2/catch_test_macros.hpp>)
#include <catch2/catch_test_case_info.hpp>
#include <catch2/reporters/catch_reporter_event_listener.hpp>
#include <catch2/reporters/catch_reporter_registrars.hpp>
#else
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
#endif

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string>

#include <unistd.h>

namespace {

#if __has_include(<catch2/catch_test_macros.hpp>)
using Listener = Catch::EventListenerBase;
#else
using Listener = Catch::TestEventListenerBase;
#endif

// The slowest test case takes a tenth of it on two busy cores. A sanitizer ($MC_PROXY_SLOW=1) makes
// all slower.
constexpr unsigned kCaseSecondsMax = 120;
constexpr unsigned kSlowFactor = 8;
// The status of timeout(1), which tests/summary.py knows.
constexpr int kStatusTimeLimit = 124;

// For the signal handler, which may not allocate.
std::string running;

void end_at_limit(int) {
  [[maybe_unused]] const auto written = write(STDERR_FILENO, running.data(), running.size());
  _exit(kStatusTimeLimit);
}

unsigned limit_seconds() {
  const char* slow = std::getenv("MC_PROXY_SLOW");
  return slow != nullptr && std::strcmp(slow, "1") == 0 ? kCaseSecondsMax * kSlowFactor
                                                        : kCaseSecondsMax;
}

struct TimeLimit : Listener {
  using Listener::Listener;

  void testCaseStarting(const Catch::TestCaseInfo& info) override {
    const auto seconds = limit_seconds();
    running = "\nthe test case \"" + info.name + "\" has run for " + std::to_string(seconds) +
              " s, the limit\n";
    std::signal(SIGALRM, end_at_limit);
    alarm(seconds);
  }

  void testCaseEnded(const Catch::TestCaseStats&) override { alarm(0); }
};

CATCH_REGISTER_LISTENER(TimeLimit)

}  // namespace
