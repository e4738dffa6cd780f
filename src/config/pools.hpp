// SPDX-License-Identifier: Apache-2.0
#pragma once
// Reads [[pools]] of the configuration file. policy/pool.hpp validates the values; this file knows
// where each of them is, so that an error has its place. Belongs to one thread, for one load.

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "config/section.hpp"
#include "policy/pool.hpp"

namespace mc::config {

/// A pool as the file has it, not validated yet.
struct PoolInFile {
  Node table;
  policy::PoolText text;
  /// The values that are present, by their field: "retries", "check.name", "backends[0].address".
  std::map<std::string, Node, std::less<>> places;

  /// The value of that field; null if the file does not have it.
  [[nodiscard]] const Node* find(std::string_view field) const;
  [[nodiscard]] const Node* find(std::size_t backend, std::string_view field) const;
};

/// All pools. Problems are types, unknown keys and words, keys without effect, and duplicate names.
std::vector<PoolInFile> read_pools(const Section& root, Problems& problems);

/// Validates the pool. A TLS check without a name gets that of the routes, if `hostnames`, the
/// exact names of all routes that lead to the pool, is one name.
std::optional<policy::Pool> finish_pool(const PoolInFile& read,
                                        const std::set<std::string>& hostnames, Problems& problems);

}  // namespace mc::config
