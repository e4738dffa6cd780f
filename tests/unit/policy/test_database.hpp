// SPDX-License-Identifier: Apache-2.0
#pragma once
// GeoIP databases for tests, written at run time by tests/support/make_mmdb.pl with MaxMind's own
// writer, in a directory of their own. Needs perl and libmaxmind-db-writer-perl: a test without
// them fails.

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>

// Where the sources are; the build runs tests in their root.
#ifndef MC_SOURCE_ROOT
#define MC_SOURCE_ROOT "."
#endif

namespace mc::policy {

/// A directory that is removed at the end of the test.
class TestDirectory {
 public:
  TestDirectory() {
    std::string name = std::filesystem::temp_directory_path() / "mc-policy-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make " + name);
    path_ = name;
  }
  ~TestDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TestDirectory(const TestDirectory&) = delete;
  TestDirectory& operator=(const TestDirectory&) = delete;

  [[nodiscard]] std::string file(std::string_view name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

/// One of the databases that make_mmdb.pl can make, in a file.
class TestDatabase {
 public:
  explicit TestDatabase(const std::string& kind) : path_(directory_.file(kind + ".mmdb")) {
    const std::string script = std::string(MC_SOURCE_ROOT) + "/tests/support/make_mmdb.pl";
    const std::string command = "perl '" + script + "' " + kind + " '" + path_ + "'";
    if (std::system(command.c_str()) != 0) {
      throw std::runtime_error(
          "cannot make a test database (is libmaxmind-db-writer-perl installed?): " + command);
    }
  }

  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  TestDirectory directory_;
  std::string path_;
};

inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// Writes in place, as `cp` does: the same inode, first truncated.
inline void write_file(const std::string& path, std::string_view bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << bytes;
  if (!file.flush()) throw std::runtime_error("cannot write " + path);
}

}  // namespace mc::policy
