// SPDX-License-Identifier: Apache-2.0
#pragma once
// A filter for open connections, read from texts that are not validated yet. Pure; any thread.

#include <string>

#include "control/change.hpp"
#include "control/state.hpp"
#include "traffic/connection.hpp"

namespace mc::admin {

/// An empty text matches everything.
struct ConnectionFilterText {
  std::string listener;  // as configured
  std::string sni;       // as a route's host name
  std::string source;    // an address or a block
  std::string backend;
  std::string id;
  std::string pool;  // a name, of an existing pool or not

  [[nodiscard]] bool empty() const;
  /// For the log: "listener=:443 sni=*.example.com", or "all".
  [[nodiscard]] std::string describe() const;
};

/// The filter, or all errors of the texts.
control::Outcome<traffic::ConnectionFilter> read_filter(const ConnectionFilterText& text,
                                                        const control::Listeners& listeners);

}  // namespace mc::admin
