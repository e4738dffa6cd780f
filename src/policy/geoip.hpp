// SPDX-License-Identifier: Apache-2.0
#pragma once
// The country of an address, from a database in MaxMind's format (.mmdb). A GeoIp is the database
// as it was when it was opened: later changes of the file do not reach it, and a reload opens
// another one.

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "base/result.hpp"
#include "net/ip.hpp"
#include "policy/country_code.hpp"

struct MMDB_s;

namespace mc::policy {

/// An open database. Immutable; any thread, any number at once.
class GeoIp {
 public:
  /// Copies the file into memory (at most kGeoIpBytesMax) and checks that it is a database that
  /// knows countries. Errors name the path, what is wrong with it, and what to do.
  static Result<std::shared_ptr<const GeoIp>> open(const std::string& path);

  ~GeoIp();
  GeoIp(const GeoIp&) = delete;
  GeoIp& operator=(const GeoIp&) = delete;

  /// The country of the address, if the database has one. Damaged records return nothing.
  [[nodiscard]] std::optional<CountryCode> country(const IpAddress& address) const;

  /// What the database calls itself: "GeoLite2-Country".
  [[nodiscard]] std::string type() const;
  /// When its publisher built it.
  [[nodiscard]] std::chrono::sys_seconds built_at() const;

 private:
  struct Close {
    void operator()(MMDB_s* database) const;
  };
  using Database = std::unique_ptr<MMDB_s, Close>;

  explicit GeoIp(Database database);

  Database database_;
};

}  // namespace mc::policy
