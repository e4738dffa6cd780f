// SPDX-License-Identifier: Apache-2.0
#include "dns/resolv_conf.hpp"

#include <sys/stat.h>

namespace mc::dns {
namespace {

std::int64_t nanoseconds(const timespec& time) {
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

bool ResolvConf::is_changed() {
  const Stamp now = stamp();
  return std::exchange(seen_, now) != now;
}

ResolvConf::Stamp ResolvConf::stamp() const {
  struct stat status{};
  if (::stat(path_.c_str(), &status) != 0) return {};
  return {.device = status.st_dev,
          .inode = status.st_ino,
          .size = status.st_size,
          .modified_ns = nanoseconds(status.st_mtim),
          .changed_ns = nanoseconds(status.st_ctim)};
}

}  // namespace mc::dns
