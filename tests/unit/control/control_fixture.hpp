// SPDX-License-Identifier: Apache-2.0
#pragma once
// A control plane on a real database, without a data plane: its published policy can be read at
// once, on the test's thread, and its cuts are recorded.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"
#include "control/control.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"

namespace mc::control::test {

/// One run of a server over a database in a directory of its own.
class Plant {
 public:
  /// The listeners are ":443" and ":8443" unless the text has others; `toml` is added to the lines
  /// for them and the database.
  explicit Plant(const std::string& toml = "");
  ~Plant();
  Plant(const Plant&) = delete;
  Plant& operator=(const Plant&) = delete;

  /// Why control cannot be opened on the files as they are; "" if it can, and then it is open.
  std::string open();
  /// Ends the server and starts it again, over the same database.
  void restart();
  void close();
  /// The configuration from the next open() on.
  void configure(const std::string& toml);

  Control& control() { return *control_; }
  [[nodiscard]] const std::string& database() const { return database_; }
  /// The policy that the workers would follow.
  [[nodiscard]] const policy::Policy& published() { return published_->latest(); }
  /// The firewalls of the cuts so far.
  [[nodiscard]] const std::vector<std::shared_ptr<const policy::Firewall>>& cuts() const {
    return enforcer_.firewalls;
  }
  /// Where the policy sends a name at the first listener: "none" or the backend.
  [[nodiscard]] std::string route(std::string_view name, std::size_t listener = 0);
  /// The first value that `sql` returns from the database's file.
  [[nodiscard]] std::string query(const std::string& sql) const;

 private:
  mc::test::TempDir directory_;
  std::string database_ = directory_.file("mc-proxy.db");
  std::string toml_;
  Log log_;
  config::Config config_;
  struct NotingEnforcer final : Enforcer {
    void cut(const std::shared_ptr<const policy::Firewall>& firewall) override {
      firewalls.push_back(firewall);
    }
    void cut_draining(const std::vector<Rule>&) override {}

    std::vector<std::shared_ptr<const policy::Firewall>> firewalls;
  } enforcer_;
  std::unique_ptr<policy::PublishedPolicy> published_;
  std::unique_ptr<Control> control_;
};

/// The options of an ordinary request.
ChangeOptions by_test();

/// The refusal as one text: the kind, the message or the violations as "index field: description".
std::string told(const Refusal& refusal);

}  // namespace mc::control::test
