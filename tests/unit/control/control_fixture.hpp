// SPDX-License-Identifier: Apache-2.0
#pragma once
// A control plane on a real database, with a data plane that has no workers: what it publishes can
// be read at once, on the test's thread.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"
#include "control/control.hpp"
#include "support/catch.hpp"

namespace mc::control::test {

/// One run of a server over a database in a directory of its own.
class Plant {
 public:
  /// The listeners are ":443" and ":8443" unless the text has others; `toml` is added to what names
  /// them and the database.
  explicit Plant(const std::string& toml = "");
  ~Plant();
  Plant(const Plant&) = delete;
  Plant& operator=(const Plant&) = delete;

  /// Why control cannot be opened on what is there now; "" if it can, and then it is open.
  std::string open();
  /// Ends the server and starts it again, over the same database.
  void restart();
  void close();
  /// The configuration from the next open() on.
  void configure(const std::string& toml);

  Control& control() { return *control_; }
  [[nodiscard]] const std::string& database() const { return database_; }
  /// The policy that the workers would follow.
  [[nodiscard]] const policy::Policy& published() { return plane_->published().latest(); }
  /// Where the policy sends a name at the first listener: "none" or the backend.
  [[nodiscard]] std::string route(std::string_view name, std::size_t listener = 0);
  /// The first value that `sql` answers from the database's file.
  [[nodiscard]] std::string query(const std::string& sql) const;

 private:
  std::string directory_;
  std::string database_;
  std::string toml_;
  Log log_;
  config::Config config_;
  std::unique_ptr<Control> control_;
  std::unique_ptr<proxy::DataPlane> plane_;
};

/// The terms of a request that nobody needs to know more of.
Terms by_test();

/// The refusal as one text: the kind, the message or the violations as "index field: description".
std::string told(const Refusal& refusal);

}  // namespace mc::control::test
