// SPDX-License-Identifier: Apache-2.0
#include "lifecycle/credentials.hpp"

#include <fmt/format.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>

#include "base/quote.hpp"

namespace mc::lifecycle {
namespace {

constexpr std::uint32_t kBindLowPorts = 1U << CAP_NET_BIND_SERVICE;

using CapabilitySets = std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3>;

__user_cap_header_struct own_header() { return {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0}; }

}  // namespace

Result<void> become_user(const std::string& name) {
  const auto failed = [&name](const char* what) {
    return fail(fmt::format("user {}: {}: {}", quote(name), what, std::strerror(errno)));
  };
  errno = 0;
  // Not thread-safe, but there are no other threads yet.
  const passwd* const user = ::getpwnam(name.c_str());
  if (user == nullptr) {
    return fail(
        fmt::format("there is no user {}; make it (systemd-sysusers), or correct the unit's "
                    "User=",
                    quote(name)));
  }
  const uid_t uid = user->pw_uid;
  const gid_t gid = user->pw_gid;
  if (uid == ::geteuid()) return {};
  if (::geteuid() != 0) {
    errno = EPERM;
    return failed("only root can check as another user");
  }
  if (::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0) return failed("keep a capability");
  if (::initgroups(name.c_str(), gid) != 0) return failed("set its groups");
  if (::setresgid(gid, gid, gid) != 0) return failed("set its group");
  if (::setresuid(uid, uid, uid) != 0) return failed("become it");
  CapabilitySets sets{};
  auto header = own_header();
  if (::syscall(SYS_capget, &header, sets.data()) != 0) return failed("read the capabilities");
  const std::uint32_t kept = sets[0].permitted & kBindLowPorts;
  sets[0] = {.effective = kept, .permitted = kept, .inheritable = 0};
  sets[1] = {};
  if (::syscall(SYS_capset, &header, sets.data()) != 0) return failed("drop the capabilities");
  return {};
}

bool may_bind(unsigned port) {
  unsigned first = 1024;
  std::ifstream("/proc/sys/net/ipv4/ip_unprivileged_port_start") >> first;
  if (port == 0 || port >= first) return true;
  CapabilitySets sets{};
  auto header = own_header();
  return ::syscall(SYS_capget, &header, sets.data()) == 0 &&
         (sets[0].effective & kBindLowPorts) != 0;
}

}  // namespace mc::lifecycle
