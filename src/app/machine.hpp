// SPDX-License-Identifier: Apache-2.0
#pragma once
// What this machine allows a server: descriptors, processors, pipes.

#include <cstdint>
#include <vector>

namespace mc::app {

/// Raises the soft RLIMIT_NOFILE to the hard one, for the kernel takes the limit of a standing
/// accept when it is armed. Answers the limit in force.
std::uint64_t raise_descriptor_limit();

/// How many sessions fit into `descriptors` of RLIMIT_NOFILE; at least 1.
std::uint64_t connections_that_fit(std::uint64_t descriptors);

/// The processors that this process may run on.
std::vector<int> usable_cpus();

/// A processor for each of `workers` (0: one worker per usable processor), going round when there
/// are fewer.
std::vector<int> cpus_for(unsigned workers);

}  // namespace mc::app
