// SPDX-License-Identifier: Apache-2.0
#include "metrics/process.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <string_view>

#include "metrics/family.hpp"

namespace mc::metrics {
namespace {

using prometheus::MetricType;

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

// The second number of statm, in pages.
double resident_bytes(const Fd& statm) {
  std::array<char, 256> text{};
  const ssize_t size = ::pread(statm.get(), text.data(), text.size(), 0);
  if (size <= 0) return 0;
  const std::string_view all(text.data(), static_cast<std::size_t>(size));
  const std::string_view second = all.substr(all.find(' ') + 1);
  std::uint64_t pages = 0;
  std::from_chars(second.data(), second.data() + second.size(), pages);
  return static_cast<double>(pages) * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

Process::Process()
    : statm_(::open("/proc/self/statm", O_RDONLY | O_CLOEXEC)),
      started_at_(std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch())
                      .count()) {}

void Process::collect(std::vector<prometheus::MetricFamily>& families) const {
  auto started = family(MetricType::Gauge, "process_start_time_seconds",
                        "When the server started, in seconds since 1970.");
  add(started, started_at_);
  families.push_back(std::move(started));

  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  auto cpu = family(MetricType::Counter, "process_cpu_seconds_total",
                    "User and system time of all threads.");
  add(cpu, seconds_of(used.ru_utime) + seconds_of(used.ru_stime));
  families.push_back(std::move(cpu));

  auto memory = family(MetricType::Gauge, "process_resident_memory_bytes",
                       "Memory of the process that is in RAM, without the kernel's part.");
  add(memory, resident_bytes(statm_));
  families.push_back(std::move(memory));

  rlimit descriptors{};
  ::getrlimit(RLIMIT_NOFILE, &descriptors);
  auto limit = family(MetricType::Gauge, "process_max_fds",
                      "Descriptors that the process may have (RLIMIT_NOFILE).");
  add(limit, static_cast<double>(descriptors.rlim_cur));
  families.push_back(std::move(limit));
}

}  // namespace mc::metrics
