// SPDX-License-Identifier: Apache-2.0
#include "control/assignment.hpp"

#include <utility>

#include "net/socket_address.hpp"

namespace mc::control {

Assignment assign(const std::vector<store::RouteRecord>& records, const Listeners& listeners) {
  Assignment assignment;
  auto& left = assignment.left_behind;
  for (const store::RouteRecord& record : records) ++left[record.listener];
  for (std::size_t i = 0; i < listeners.size(); ++i) {
    assignment.record_names.push_back(listeners.name(i));
  }
  std::vector<bool> has_records;
  for (std::size_t i = 0; i < listeners.size(); ++i) {
    // What only redirects takes no routes.
    has_records.push_back(listeners.only_redirects(i) || left.erase(listeners.name(i)) > 0);
  }
  for (std::size_t i = 0; i < listeners.size(); ++i) {
    if (has_records[i]) continue;
    auto most = left.end();
    for (auto it = left.begin(); it != left.end(); ++it) {
      const auto address = SocketAddress::parse_listen(it->first);
      if (!address.has_value() || *address != listeners.address(i)) continue;
      if (most == left.end() || it->second > most->second) most = it;
    }
    if (most == left.end()) continue;
    assignment.record_names[i] = most->first;
    left.erase(most);
  }
  return assignment;
}

void rename(std::vector<store::RouteRecord>& records, const Assignment& assignment,
            const Listeners& listeners) {
  std::map<std::string, std::string> names;
  for (std::size_t i = 0; i < listeners.size(); ++i) {
    if (assignment.record_names[i] != listeners.name(i)) {
      names.emplace(assignment.record_names[i], listeners.name(i));
    }
  }
  for (store::RouteRecord& record : records) {
    const auto found = names.find(record.listener);
    if (found != names.end()) record.listener = found->second;
  }
}

}  // namespace mc::control
