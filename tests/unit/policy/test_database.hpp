// SPDX-License-Identifier: Apache-2.0
#pragma once
// GeoIP databases for tests, written at run time by tests/support/make_mmdb.pl with MaxMind's own
// writer, in a directory of their own. Needs perl and libmaxmind-db-writer-perl: a test without
// them fails.

#include <cstdlib>
#include <stdexcept>
#include <string>

#include "support/files.hpp"

// Where the sources are; the build runs tests in their root.
#ifndef MC_SOURCE_ROOT
#define MC_SOURCE_ROOT "."
#endif

namespace mc::policy {

/// One of the databases that make_mmdb.pl knows to make, in a file.
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
  test::TempDir directory_;
  std::string path_;
};

}  // namespace mc::policy
