// SPDX-License-Identifier: Apache-2.0
#include "server/host_limits.hpp"

#include <sched.h>

#include <algorithm>

#include "base/descriptor_limit.hpp"
#include "proxy/limits.hpp"

namespace mc::server {

// A worker has a ring and its eventfd, and a socket for each listener; the data plane keeps a
// duplicate of each socket, for a successor.
std::uint64_t descriptors_at_rest(std::size_t workers, std::size_t listeners) {
  return 2 * workers + 2 * workers * listeners;
}

std::uint64_t descriptors_to_start(std::size_t workers, std::size_t listeners) {
  // A server with an API on both sockets and metrics has 19. The rest is for what a library opens
  // for a moment.
  constexpr std::uint64_t kOfAllElse = 32;
  return descriptors_at_rest(workers, listeners) + kOfAllElse + kDescriptorsOfOperators;
}

std::uint64_t connections_that_fit(std::uint64_t descriptors, std::uint64_t at_rest) {
  const std::uint64_t left = descriptors > at_rest ? descriptors - at_rest : 0;
  const std::uint64_t reserved = std::min(proxy::kDescriptorsReserved, left / 2);
  return std::max<std::uint64_t>((left - reserved) / 2, 1);
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

}  // namespace mc::server
