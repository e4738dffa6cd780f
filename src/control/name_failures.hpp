// SPDX-License-Identifier: Apache-2.0
#pragma once
// The names of backends that cannot be resolved now, each with the reason and since when. For the
// warning about them, and for listings of pools. Any thread.

#include <chrono>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <string_view>

namespace mc::control {

class NameFailures {
 public:
  using Time = std::chrono::sys_time<std::chrono::milliseconds>;

  /// A name that failed before keeps its time.
  void failed(const std::string& name, std::string why, Time now);
  void answered(std::string_view name);
  /// Forgets the others. `names` are sorted.
  void keep_only(std::span<const std::string> names);

  /// Why the name cannot be resolved: "SERVFAIL". Empty: it can, or it was not tried yet.
  [[nodiscard]] std::string why(std::string_view name) const;
  /// All of them in one text for an operator, the first few by name; empty: there are none.
  [[nodiscard]] std::string text() const;

 private:
  struct Failure {
    std::string why;
    Time since;
  };

  mutable std::mutex lock_;
  std::map<std::string, Failure, std::less<>> failures_;
};

}  // namespace mc::control
