// SPDX-License-Identifier: Apache-2.0
#pragma once
// Files of a test. What cannot be made or read throws, which fails the test.

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

namespace mc::test {

/// A directory that goes with its content when the test ends. Others may enter it, so that a thread
/// or a process with another uid can try.
class TempDir {
 public:
  TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir();

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string file(std::string_view name) const;
  /// Of all that is in it, sorted.
  [[nodiscard]] std::vector<std::string> names() const;

 private:
  std::string path_;
};

std::string read_file(const std::string& path);
/// In place, as `cp` does: the same inode, first truncated.
void write_file(const std::string& path, std::string_view content);
void copy_over(const std::string& from, const std::string& to);
/// The permissions alone; of a link, its own.
mode_t mode_of(const std::string& path);

}  // namespace mc::test
