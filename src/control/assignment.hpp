// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which listener the routes of a database belong to. A record names its listener as the
// configuration wrote it when the record was made; since then the configuration may write the same
// address in another way, or have another address. Pure functions; any thread.

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "control/state.hpp"
#include "store/store.hpp"

namespace mc::control {

struct Assignment {
  /// By listener: the name that its records have.
  std::vector<std::string> record_names;
  /// Names that no listener with routes has, with the number of their routes: kept, but not in
  /// force.
  std::map<std::string, std::size_t> left_behind;
};

/// A listener has the records of its name; if there are none, those of another name for the same
/// address. So a configuration can be rewritten and restored without a change of the database.
Assignment assign(const std::vector<store::RouteRecord>& records, const Listeners& listeners);

/// Renames the records' listeners to the configuration's names.
void rename(std::vector<store::RouteRecord>& records, const Assignment& assignment,
            const Listeners& listeners);

}  // namespace mc::control
