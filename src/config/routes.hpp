// SPDX-License-Identifier: Apache-2.0
#pragma once
// Reads the routes of the configuration: [[listeners.routes]]. They are read in two steps, because
// the rest of the file decides what their targets mean. Belongs to one thread, for one load.

#include <map>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "config/problem.hpp"
#include "config/section.hpp"
#include "policy/route.hpp"

namespace mc::config {

/// A route as the file has it, and where. Refers to the tree.
struct RouteInFile {
  policy::RouteText text;
  /// The values by the names of the fields; only of those that are present.
  std::map<std::string_view, Node> places;
  std::vector<Node> sources;  // each of text.match.sources
};

/// Reads the texts. What is missing, or of the wrong type, is a problem.
RouteInFile read_route(const Node& table, Problems& problems);

/// The route, if its texts are right; else each that is wrong is a problem.
std::optional<policy::Route> finish_route(const RouteInFile& read, Problems& problems);

/// The routes of one listener, to tell which is there twice.
class RoutesSeen {
 public:
  /// Whether the listener may have the route, besides those before it; else that is a problem. A
  /// route without a valid name or match is not known, and may not.
  bool admit(const RouteInFile& read, Problems& problems);

 private:
  struct OfPattern {
    std::map<policy::RouteMatch, Position> lines;
    std::size_t matching = 0;
  };
  std::map<policy::HostPattern, OfPattern> by_pattern_;
};

}  // namespace mc::config
