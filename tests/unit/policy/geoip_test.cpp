// SPDX-License-Identifier: Apache-2.0
#include "policy/geoip.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "policy/limits.hpp"
#include "support/as_user.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "unit/policy/test_database.hpp"

namespace mc::policy {
namespace {

std::shared_ptr<const GeoIp> open(const std::string& path) {
  auto database = GeoIp::open(path);
  INFO((database ? std::string() : database.error().message));
  REQUIRE(database);
  return *database;
}

/// The country of the address, or "none".
std::string country(const GeoIp& database, std::string_view address) {
  const auto code = database.country(IpAddress::parse(address).value());
  return code ? std::string(code->view()) : "none";
}

/// The message with which open() refuses the path. It names the path.
std::string refusal(const std::string& path) {
  const auto database = GeoIp::open(path);
  REQUIRE_FALSE(database);
  const std::string& message = database.error().message;
  CHECK(message.starts_with("GeoIP database \"" + path + "\": "));
  return message;
}

bool says(const std::string& message, std::string_view text) {
  INFO(message);
  return message.contains(text);
}

}  // namespace

TEST_CASE("an address is in the country of its network, in both families") {
  const auto database = open(TestDatabase("country").path());
  CHECK(country(*database, "127.0.0.1") == "DE");
  CHECK(country(*database, "10.9.0.255") == "US");
  CHECK(country(*database, "10.9.1.0") == "none");
  CHECK(country(*database, "2001:db8:ffff::1") == "JP");
  CHECK(country(*database, "2001:db8:2::") == "KR");
  CHECK(country(*database, "2001:db9::") == "none");
}

TEST_CASE("an IPv4-mapped address is looked up as IPv4") {
  const auto database = open(TestDatabase("country").path());
  CHECK(country(*database, "::ffff:10.9.0.1") == "US");
}

TEST_CASE("the country of use counts before that of registration, which fills in for it") {
  const auto database = open(TestDatabase("country").path());
  CHECK(country(*database, "192.0.2.1") == "FR");
  CHECK(country(*database, "192.0.2.129") == "FR");
  CHECK(country(*database, "198.51.100.1") == "GB");
  CHECK(country(*database, "2001:db8:1::1") == "BR");
  CHECK(country(*database, "198.51.101.1") == "none");
}

TEST_CASE("a code that is not two capital letters is none") {
  const auto database = open(TestDatabase("bad_codes").path());
  CHECK(country(*database, "192.0.2.1") == "none");
  CHECK(country(*database, "192.0.2.65") == "FR");
  CHECK(country(*database, "192.0.2.129") == "FR");
  CHECK(country(*database, "192.0.2.193") == "FR");
}

TEST_CASE("a database of another publisher and of IPv4 alone will do") {
  const auto database = open(TestDatabase("own_name_ipv4").path());
  CHECK(country(*database, "192.0.2.1") == "FR");
  CHECK(country(*database, "2001:db8::1") == "none");
}

TEST_CASE("a database says what it is and when it was built") {
  const auto database = open(TestDatabase("country").path());
  CHECK(database->type() == "GeoLite2-Country");
  const auto age = std::chrono::system_clock::now() - database->built_at();
  CHECK(age >= std::chrono::seconds(0));
  CHECK(age < std::chrono::hours(1));
}

TEST_CASE("a database in use does not mind what becomes of its file") {
  const TestDatabase file("country");
  const auto database = open(file.path());
  const std::string moved = test::read_file(TestDatabase("country_moved").path());

  // What `cp` does: for a while the file is empty, then it is half there, then it is another.
  test::write_file(file.path(), "");
  CHECK(country(*database, "192.0.2.1") == "FR");
  test::write_file(file.path(), std::string_view(moved).substr(0, moved.size() / 2));
  CHECK(country(*database, "192.0.2.1") == "FR");
  test::write_file(file.path(), moved);
  CHECK(country(*database, "192.0.2.1") == "FR");
  CHECK(country(*open(file.path()), "192.0.2.1") == "IT");
  std::filesystem::remove(file.path());
  CHECK(country(*database, "192.0.2.1") == "FR");
}

TEST_CASE("an open database keeps no descriptor") {
  const auto count = [] {
    const std::filesystem::directory_iterator all("/proc/self/fd");
    return std::distance(begin(all), end(all));
  };
  const TestDatabase file("country");
  const auto before = count();
  const auto database = open(file.path());
  CHECK(count() == before);
  CHECK(GeoIp::open("/nowhere").has_value() == false);
  CHECK(count() == before);
}

TEST_CASE("a file that is not there is named, with where to get one") {
  const test::TempDir directory;
  const auto message = refusal(directory.file("missing.mmdb"));
  CHECK(says(message, "no such file"));
  CHECK(says(message, "download GeoLite2-Country.mmdb"));
  CHECK(says(message, "firewall.geoip_db"));
  CHECK(says(refusal(directory.file("")), "regular file"));
}

TEST_CASE("a file that may not be read is named, with what to do") {
  const TestDatabase file("country");
  REQUIRE(::chmod(file.path().c_str(), 0) == 0);
  std::string message;
  test::without_privilege([&] { message = refusal(file.path()); });
  CHECK(says(message, "permission"));
}

TEST_CASE("an empty file is refused as empty") {
  const test::TempDir directory;
  test::write_file(directory.file("empty.mmdb"), "");
  CHECK(says(refusal(directory.file("empty.mmdb")), "empty"));
}

TEST_CASE("a FIFO is refused at once") {
  const test::TempDir directory;
  const auto path = directory.file("fifo.mmdb");
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  CHECK(says(refusal(path), "regular file"));
}

TEST_CASE("a file that is far too large is refused unread") {
  const test::TempDir directory;
  const auto path = directory.file("huge.mmdb");
  test::write_file(path, "");
  std::filesystem::resize_file(path, kGeoIpBytesMax + 1);
  CHECK(says(refusal(path), "more than 1073741824 bytes"));
}

TEST_CASE("a file of another format is refused as such") {
  const test::TempDir directory;
  const auto path = directory.file("other.mmdb");
  test::write_file(path, "network,country\n192.0.2.0/24,FR\n");
  CHECK(says(refusal(path), "not a MaxMind database"));
}

TEST_CASE("a database cut off anywhere is refused, never read beyond its end") {
  const TestDatabase file("country");
  const std::string whole = test::read_file(file.path());
  for (std::size_t size = 1; size < whole.size(); size += 7) {
    test::write_file(file.path(), std::string_view(whole).substr(0, size));
    CHECK(says(refusal(file.path()), "not a whole one"));
  }
}

TEST_CASE("a database of another kind is refused with its type") {
  const auto message = refusal(TestDatabase("asn").path());
  CHECK(says(message, "\"GeoLite2-ASN\""));
  CHECK(says(message, "without countries"));
  CHECK(says(message, "GeoLite2-Country"));
  CHECK(says(refusal(TestDatabase("no_networks").path()), "without countries"));
}

}  // namespace mc::policy
