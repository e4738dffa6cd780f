// SPDX-License-Identifier: Apache-2.0
#include "policy/geoip.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <maxminddb.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fd.hpp"
#include "base/quote.hpp"
#include "net/socket_address.hpp"
#include "policy/limits.hpp"

namespace mc::policy {
namespace {

constexpr std::string_view kFreshCopy =
    "put a complete new copy of GeoLite2-Country.mmdb there, then reload";

std::unexpected<Error> fail_with(const std::string& path, std::string_view problem,
                                 std::string_view remedy) {
  return fail(fmt::format("GeoIP database {}: {}; {}", quote(path), problem, remedy));
}

std::unexpected<Error> fail_to_open(const std::string& path, int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return fail_with(path, "there is no such file",
                       "download GeoLite2-Country.mmdb from MaxMind to this path, or correct "
                       "firewall.geoip_db");
    case EACCES:
    case EPERM:
      return fail_with(path, "no permission to read it",
                       "give the file to the user that mc-proxy runs as (chown), and check the "
                       "directories above it");
    default:
      return fail_with(path, std::strerror(error), "check the file and the disk it is on");
  }
}

Result<Fd> open_file(const std::string& path) {
  // O_NONBLOCK: a path that leads to a FIFO must not hang the start.
  Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status{};
  if (!file || ::fstat(file.get(), &status) != 0) return fail_to_open(path, errno);
  if (!S_ISREG(status.st_mode)) {
    return fail_with(path, "this is not a regular file", "correct firewall.geoip_db");
  }
  if (status.st_size == 0) return fail_with(path, "the file is empty", kFreshCopy);
  if (static_cast<std::uint64_t>(status.st_size) > kGeoIpBytesMax) {
    return fail_with(path, fmt::format("the file has more than {} bytes", kGeoIpBytesMax),
                     "correct firewall.geoip_db");
  }
  return file;
}

// libmaxminddb maps the file. Operators replace that file in place: `cp new.mmdb old.mmdb`
// truncates it, writes it again, and only then comes the SIGHUP. With the mapping on the file
// itself, a lookup meanwhile would read a half-written tree or die of SIGBUS. So the library gets a
// sealed copy, which nothing can reach or change.
Result<Fd> sealed_copy(const std::string& path, const Fd& file) {
  const auto fail_to_copy = [&path](int error) {
    return fail_with(path, fmt::format("cannot be copied into memory: {}", std::strerror(error)),
                     "check the disk, and the memory and descriptors that the service may use");
  };
  Fd copy(::memfd_create("geoip", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!copy) return fail_to_copy(errno);
  for (std::size_t size = 0; size <= kGeoIpBytesMax;) {
    const ssize_t count = ::sendfile(copy.get(), file.get(), nullptr, kGeoIpBytesMax);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_to_copy(errno);
    if (count == 0) {
      constexpr int kSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
      if (::fcntl(copy.get(), F_ADD_SEALS, kSeals) != 0) return fail_to_copy(errno);
      return copy;
    }
    size += static_cast<std::size_t>(count);
  }
  return fail_with(path, "the file grows while it is read", kFreshCopy);
}

std::optional<CountryCode> iso_code(MMDB_entry_s entry, const char* field) {
  const char* const keys[] = {field, "iso_code", nullptr};
  MMDB_entry_data_s data{};
  if (MMDB_aget_value(&entry, &data, keys) != MMDB_SUCCESS || !data.has_data ||
      data.type != MMDB_DATA_TYPE_UTF8_STRING) {
    return std::nullopt;
  }
  return CountryCode::from({data.utf8_string, data.data_size});
}

// `country` is where the address is used. It is absent where MaxMind does not know (satellite
// links, anycast, some mobile networks). The country in which the block is registered is the next
// best: a country rule is most often meant for those addresses too.
std::optional<CountryCode> country_of(const MMDB_entry_s& entry) {
  if (const auto country = iso_code(entry, "country")) return country;
  return iso_code(entry, "registered_country");
}

/// Whether any record has a country. Reads the data, not the database's name for itself, which
/// publishers choose freely. A damaged tree may lead in circles, hence the bound.
bool has_countries(const MMDB_s& database) {
  std::vector<std::uint32_t> nodes{0};
  for (std::size_t seen = 0; !nodes.empty() && seen < kGeoIpProbeNodesMax; ++seen) {
    const std::uint32_t number = nodes.back();
    nodes.pop_back();
    MMDB_search_node_s node{};
    if (MMDB_read_node(&database, number, &node) != MMDB_SUCCESS) continue;

    struct Record {
      std::uint8_t type;
      std::uint64_t node;
      MMDB_entry_s entry;
    };
    for (const Record& record :
         {Record{node.right_record_type, node.right_record, node.right_record_entry},
          Record{node.left_record_type, node.left_record, node.left_record_entry}}) {
      if (record.type == MMDB_RECORD_TYPE_DATA && country_of(record.entry)) return true;
      if (record.type == MMDB_RECORD_TYPE_SEARCH_NODE) {
        nodes.push_back(static_cast<std::uint32_t>(record.node));
      }
    }
  }
  return false;
}

}  // namespace

void GeoIp::Close::operator()(MMDB_s* database) const {
  MMDB_close(database);
  delete database;
}

GeoIp::GeoIp(Database database) : database_(std::move(database)) {}

GeoIp::~GeoIp() = default;

Result<std::shared_ptr<const GeoIp>> GeoIp::open(const std::string& path) {
  const auto file = open_file(path);
  if (!file) return std::unexpected(file.error());
  const auto copy = sealed_copy(path, *file);
  if (!copy) return std::unexpected(copy.error());

  // The library takes a name, not a descriptor. Once it has mapped the copy, the descriptor can go.
  auto opened = std::make_unique<MMDB_s>();
  const std::string name = fmt::format("/proc/self/fd/{}", copy->get());
  const int error = MMDB_open(name.c_str(), MMDB_MODE_MMAP, opened.get());
  if (error == MMDB_FILE_OPEN_ERROR || error == MMDB_IO_ERROR) {
    return fail_with(path, fmt::format("its copy {} cannot be opened", name),
                     "check that /proc is mounted");
  }
  if (error != MMDB_SUCCESS) {
    return fail_with(
        path, fmt::format("not a MaxMind database, or not a whole one ({})", MMDB_strerror(error)),
        kFreshCopy);
  }
  Database database(opened.release());
  if (!has_countries(*database)) {
    return fail_with(path,
                     fmt::format("a database of type {} without countries",
                                 quote(database->metadata.database_type)),
                     "use one with countries, such as GeoLite2-Country or GeoLite2-City");
  }
  return std::shared_ptr<const GeoIp>(new GeoIp(std::move(database)));
}

std::optional<CountryCode> GeoIp::country(const IpAddress& address) const {
  const SocketAddress wanted(address, 0);
  int error = MMDB_SUCCESS;
  const auto found = MMDB_lookup_sockaddr(database_.get(), wanted.data(), &error);
  if (error != MMDB_SUCCESS || !found.found_entry) return std::nullopt;
  return country_of(found.entry);
}

std::string GeoIp::type() const { return database_->metadata.database_type; }

std::chrono::sys_seconds GeoIp::built_at() const {
  return std::chrono::sys_seconds(std::chrono::seconds(database_->metadata.build_epoch));
}

}  // namespace mc::policy
