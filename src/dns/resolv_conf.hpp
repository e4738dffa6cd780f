// SPDX-License-Identifier: Apache-2.0
#pragma once
// Notices that resolv.conf was changed or replaced. By stat(2) and not by inotify(7): the file is
// often a symbolic link to one that another program replaces.

#include <cstdint>
#include <string>
#include <utility>

namespace mc::dns {

/// Belongs to one thread.
class ResolvConf {
 public:
  explicit ResolvConf(std::string path) : path_(std::move(path)), seen_(stamp()) {}

  /// Whether it is another file, or has other contents, than at the last call or at the start.
  bool is_changed();

 private:
  /// All 0: there is no such file.
  struct Stamp {
    std::uint64_t device = 0, inode = 0;
    std::int64_t size = 0, modified_ns = 0, changed_ns = 0;
    bool operator==(const Stamp&) const = default;
  };

  [[nodiscard]] Stamp stamp() const;

  std::string path_;
  Stamp seen_;
};

}  // namespace mc::dns
