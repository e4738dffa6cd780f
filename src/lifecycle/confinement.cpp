// SPDX-License-Identifier: Apache-2.0
#include "lifecycle/confinement.hpp"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <memory>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "base/sanitized.hpp"

namespace mc::lifecycle {
namespace {

// ---- capabilities

// Root needs these for files of other users, such as a database that belongs to mc-proxy; and for
// the rings, whose memory Linux 6.14 and newer count against all of a user's processes.
constexpr std::uint32_t kOfRoot =
    (1U << CAP_CHOWN) | (1U << CAP_DAC_OVERRIDE) | (1U << CAP_FOWNER) | (1U << CAP_IPC_LOCK);

// What systemd gave, where it does not let a process give it up.
constexpr std::string_view kLowPorts = "net_bind_service";

// ---- Landlock: landlock(7)

// By the version of the interface that introduced them.
std::uint64_t changes_of_files(int abi) {
  std::uint64_t access = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
                         LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
                         LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
                         LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
                         LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM;
  constexpr std::uint64_t kRefer = 1ULL << 13;
  constexpr std::uint64_t kTruncate = 1ULL << 14;  // younger than Debian 12's headers
  if (abi >= 2) access |= kRefer;
  if (abi >= 3) access |= kTruncate;
  return access;
}

bool allow_below(int ruleset, const std::string& directory, std::uint64_t access) {
  const Fd place(::open(directory.c_str(), O_PATH | O_CLOEXEC));
  if (!place) return errno == ENOENT;  // a missing directory cannot be written to
  landlock_path_beneath_attr rule{};
  rule.allowed_access = access;
  rule.parent_fd = place.get();
  return ::syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0;
}

std::string landlock(const std::vector<std::string>& writable_directories) {
  const int abi = landlock_abi();
  if (abi < 1) return fmt::format("not there ({})", std::strerror(errno));
  const std::uint64_t changes = changes_of_files(abi);
  // Reading is not restricted: a certificate may be a symbolic link to anywhere.
  landlock_ruleset_attr attributes{};
  attributes.handled_access_fs = changes | (kSanitized ? 0 : LANDLOCK_ACCESS_FS_EXECUTE);
  const Fd ruleset(static_cast<int>(
      ::syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes.handled_access_fs, 0)));
  if (!ruleset) return fmt::format("refused ({})", std::strerror(errno));
  for (const std::string& directory : writable_directories) {
    if (!allow_below(ruleset.get(), directory, changes)) {
      return fmt::format("refused for {} ({})", directory, std::strerror(errno));
    }
  }
  // A log on /dev/null, a terminal or a pipe is open already; SQLite opens the first.
  constexpr std::uint64_t kWriteOnly = LANDLOCK_ACCESS_FS_WRITE_FILE;
  if (!allow_below(ruleset.get(), "/dev/null", kWriteOnly)) return "refused for /dev/null";
  if (::syscall(SYS_landlock_restrict_self, ruleset.get(), 0) != 0) {
    return fmt::format("refused ({})", std::strerror(errno));
  }
  return fmt::format("abi {}", abi);
}

// ---- seccomp: seccomp(2)

// By name, because not every architecture and kernel header has all of them.
constexpr auto kNeverCalled = std::to_array<std::string_view>({
    // other processes, and their memory
    "process_vm_readv",
    "process_vm_writev",
    "pidfd_getfd",
    "kcmp",
    "move_pages",
    "migrate_pages",
    // who this process is
    "setuid",
    "setgid",
    "setreuid",
    "setregid",
    "setresuid",
    "setresgid",
    "setgroups",
    "setfsuid",
    "setfsgid",
    "capset",
    "personality",
    // the file tree
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "move_mount",
    "open_tree",
    "fsopen",
    "fsmount",
    "fsconfig",
    "fspick",
    "mount_setattr",
    "mknod",
    "mknodat",
    "open_by_handle_at",
    "name_to_handle_at",
    "fanotify_init",
    "quotactl",
    "quotactl_fd",
    // namespaces, and the machine
    "unshare",
    "setns",
    "init_module",
    "finit_module",
    "delete_module",
    "kexec_load",
    "kexec_file_load",
    "reboot",
    "swapon",
    "swapoff",
    "syslog",
    "acct",
    "settimeofday",
    "clock_settime",
    "clock_settime64",
    "clock_adjtime",
    "adjtimex",
    "sethostname",
    "setdomainname",
    "iopl",
    "ioperm",
    "modify_ldt",
    "vhangup",
    "uselib",
    "lookup_dcookie",
    // the kernel's larger surfaces; the rings are made
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "keyctl",
    "add_key",
    "request_key",
    "io_uring_setup",
});
// New entrances: all sockets that listen are bound. A source address needs the same call, and a
// filter cannot see which address it is given.
constexpr auto kNeverCalledWithoutSources = std::to_array<std::string_view>({"bind"});
constexpr auto kNeverCalledUnlessSanitized =
    std::to_array<std::string_view>({"execve", "execveat", "ptrace", "fork", "vfork"});

struct DropFilter {
  void operator()(void* filter) const { ::seccomp_release(filter); }
};
using Filter = std::unique_ptr<void, DropFilter>;

template <class Names>
int refuse_all(scmp_filter_ctx filter, const Names& names) {
  int refused = 0;
  for (const std::string_view name : names) {
    const int number = ::seccomp_syscall_resolve_name(std::string(name).c_str());
    if (number == __NR_SCMP_ERROR) continue;
    if (::seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), number, 0) == 0) ++refused;
  }
  return refused;
}

// Threads may be made, processes may not. A filter cannot read the arguments of clone3(2); after
// ENOSYS the C library uses clone(2), as on an old kernel.
bool refuse_new_processes(scmp_filter_ctx filter) {
  return ::seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                            SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0)) == 0 &&
         ::seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) == 0;
}

// A filter that is not in force yet, and what it does, in words.
struct Planned {
  Filter filter;
  std::string text;
};

Result<Planned> plan_filter(const ConfinementNeeds& needs) {
  Planned planned{.filter = Filter(::seccomp_init(SCMP_ACT_ALLOW)), .text = {}};
  if (planned.filter == nullptr) return fail("no memory for a filter");
  const scmp_filter_ctx filter = planned.filter.get();
  int refused = refuse_all(filter, kNeverCalled);
  if (!needs.source_addresses) refused += refuse_all(filter, kNeverCalledWithoutSources);
  if (!kSanitized) {
    refused += refuse_all(filter, kNeverCalledUnlessSanitized);
    if (!refuse_new_processes(filter)) return fail("the filter cannot be made");
  }
  planned.text = fmt::format("{} system calls refused{}", refused,
                             needs.source_addresses ? ", bind(2) allowed for [proxy] sources" : "");
  return planned;
}

Result<std::string> load_filter(const ConfinementNeeds& needs) {
  auto planned = plan_filter(needs);
  if (!planned.has_value()) return std::unexpected(planned.error());
  // All existing threads, not only this one.
  const scmp_filter_ctx filter = planned->filter.get();
  static_cast<void>(::seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1));
  if (const int result = ::seccomp_load(filter); result != 0) {
    return fail(fmt::format("refused ({})", std::strerror(-result)));
  }
  return std::move(planned->text);
}

// By number, as in <linux/capability.h>.
constexpr auto kCapabilities = std::to_array<std::string_view>({
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
});
static_assert(kCapabilities.size() == 41);

std::string field_of(const std::string& status, std::string_view name) {
  const std::string key = fmt::format("\n{}:\t", name);
  const auto begin = status.find(key);
  if (begin == std::string::npos) return {};
  const auto from = begin + key.size();
  return status.substr(from, status.find('\n', from) - from);
}

}  // namespace

std::string give_up_capabilities() {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> sets{};
  if (::syscall(SYS_capget, &header, sets.data()) != 0) return std::strerror(errno);
  const std::uint32_t kept = ::geteuid() == 0 ? sets[0].permitted & kOfRoot : 0;
  static_cast<void>(::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
  const auto before = sets;
  sets[0] = {.effective = kept, .permitted = kept, .inheritable = 0};
  sets[1] = {};
  if (::syscall(SYS_capset, &header, sets.data()) != 0) {
    return before[0].permitted == 1U << CAP_NET_BIND_SERVICE && before[1].permitted == 0
               ? std::string(kLowPorts)
               : std::strerror(errno);
  }
  return kept != 0 ? "of root, those for files and locked memory" : "none";
}

Confinement confine_early(const std::vector<std::string>& writable_directories) {
  Confinement done;
  static_cast<void>(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));  // fails on no supported kernel
  done.capabilities = give_up_capabilities();
  done.landlock = landlock(writable_directories);
  return done;
}

int landlock_abi() {
  return static_cast<int>(
      ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION));
}

void confine_late(Confinement& so_far, const ConfinementNeeds& needs) {
  auto loaded = load_filter(needs);
  if (loaded.has_value() && so_far.capabilities == kLowPorts) {
    so_far.capabilities +=
        needs.source_addresses ? ", and bind(2) is allowed" : ", and bind(2) is refused";
  }
  so_far.seccomp = loaded.has_value() ? *std::move(loaded) : std::move(loaded).error().message;
}

std::string refused_calls(const ConfinementNeeds& needs) {
  auto planned = plan_filter(needs);
  return planned.has_value() ? std::move(planned->text) : std::move(planned).error().message;
}

std::string confinement_of(int pid) {
  std::ifstream file(fmt::format("/proc/{}/status", pid));
  const std::string status{std::istreambuf_iterator<char>(file), {}};
  if (status.empty()) return {};
  // The number of filters is not reported: those of a container or a shell count too.
  return fmt::format("capabilities {}; new privileges {}; seccomp {}",
                     capability_names(field_of(status, "CapEff")),
                     field_of(status, "NoNewPrivs") == "1" ? "forbidden" : "possible",
                     field_of(status, "Seccomp") == "2" ? "with a filter" : "without a filter");
}

std::string capability_names(std::string_view set) {
  std::uint64_t bits = 0;
  const auto [end, error] = std::from_chars(set.data(), set.data() + set.size(), bits, 16);
  if (error != std::errc() || end != set.data() + set.size()) return "unknown";
  if (bits == 0) return "none";
  constexpr std::uint64_t kAll = (1ULL << kCapabilities.size()) - 1;
  if ((bits & kAll) == kAll) return "all";
  std::string names;
  for (std::size_t i = 0; i < 64; ++i) {
    if ((bits >> i & 1) == 0) continue;
    if (!names.empty()) names += ", ";
    names += i < kCapabilities.size() ? std::string(kCapabilities[i]) : std::to_string(i);
  }
  return names;
}

}  // namespace mc::lifecycle
