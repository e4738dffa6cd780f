// SPDX-License-Identifier: Apache-2.0
#include "app/machine.hpp"

#include <sched.h>
#include <sys/resource.h>

#include <algorithm>

#include "proxy/limits.hpp"

namespace mc::app {

std::uint64_t raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;  // what POSIX systems give at the least
  const rlim_t before = limit.rlim_cur;
  limit.rlim_cur = limit.rlim_max;
  return ::setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : before;
}

std::uint64_t connections_that_fit(std::uint64_t descriptors) {
  const std::uint64_t reserved = std::min(proxy::kDescriptorsReserved, descriptors / 2);
  return std::max<std::uint64_t>((descriptors - reserved) / 2, 1);
}

std::vector<int> usable_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cpus;
  if (::sched_getaffinity(0, sizeof set, &set) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
    }
  }
  if (cpus.empty()) cpus.push_back(0);
  return cpus;
}

std::vector<int> cpus_for(unsigned workers) {
  const std::vector<int> usable = usable_cpus();
  if (workers == 0) return usable;
  std::vector<int> cpus;
  for (unsigned i = 0; i < workers; ++i) cpus.push_back(usable[i % usable.size()]);
  return cpus;
}

}  // namespace mc::app
