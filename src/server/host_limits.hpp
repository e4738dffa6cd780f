// SPDX-License-Identifier: Apache-2.0
#pragma once
// What this machine allows a server: descriptors, processors, pipes.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace mc::server {

/// Descriptors of the rings and listening sockets of so many workers and listeners.
std::uint64_t descriptors_at_rest(std::size_t workers, std::size_t listeners);

/// Descriptors that a start with so many workers and listeners needs, with the database, the admin
/// API, metrics and the log, before the first connection.
std::uint64_t descriptors_to_start(std::size_t workers, std::size_t listeners);

/// How many sessions fit into `descriptors` of RLIMIT_NOFILE beside those `at_rest` and the reserve
/// for all else (kDescriptorsReserved; half of the rest, if that is less). At least 1.
std::uint64_t connections_that_fit(std::uint64_t descriptors, std::uint64_t at_rest);

/// The processors that this process may run on.
std::vector<int> usable_cpus();

/// A processor for each of `workers` (0: one worker per usable processor); repeats them if there
/// are fewer.
std::vector<int> cpus_for(unsigned workers);

}  // namespace mc::server
