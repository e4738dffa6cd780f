// SPDX-License-Identifier: Apache-2.0
#pragma once
// Between the text of a configuration file and its Config: the whole tree, read once. Belongs to
// one thread, for one load.

#include "config/config.hpp"
#include "config/section.hpp"
#include "config/toml.hpp"

namespace mc::config {

/// The result is valid only if there was no problem.
Config read_tree(const TomlValue& tree, NamedFiles files, Problems& problems);

}  // namespace mc::config
