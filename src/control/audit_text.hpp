// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a commit changes, as the text that its entry in the audit table keeps; the log line of the
// change repeats it. Operators and their scripts read these texts. Pure functions; any thread.

#include <string>

#include "control/draft.hpp"
#include "control/state.hpp"
#include "store/store.hpp"

namespace mc::control {

/// The changes that fit into kDetailBytesMax, "+ip 192.0.2.9; pool app: -10.0.0.1:443; :443
/// a.example none -> HOST:PORT",
/// then the number of the others: "; and 3 more".
std::string audit_text(const Difference& difference, const Listeners& listeners);

/// What the configuration puts into a new database: "routes +2, rules +1", and ", pools +1" if it
/// has pools.
std::string audit_text_of_seed(const store::ChangeSet& seed);

}  // namespace mc::control
