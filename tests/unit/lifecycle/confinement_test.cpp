// SPDX-License-Identifier: Apache-2.0
// What a confined process can no longer do, tried in a child: confinement cannot be undone.
#include "lifecycle/confinement.hpp"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <future>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/fd.hpp"
#include "base/sanitized.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"

namespace mc::lifecycle {
namespace {

// The results of attempts, in their order: errno, or 0 for success.
using Outcomes = std::vector<int>;

int outcome(long result) { return result < 0 ? errno : 0; }

// The result of `body` in a child of this process; empty if the child ended early.
template <class Body>
Outcomes in_a_child(Body body) {
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  Fd from_child(ends[0]);
  Fd to_parent(ends[1]);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const Outcomes outcomes = body();
    const std::size_t bytes = outcomes.size() * sizeof(int);
    const bool told = ::write(to_parent.get(), outcomes.data(), bytes) == std::ssize(outcomes) * 4;
    ::_exit(told ? EXIT_SUCCESS : EXIT_FAILURE);
  }
  to_parent = Fd();
  Outcomes outcomes;
  int one = 0;
  while (::read(from_child.get(), &one, sizeof one) == sizeof one) outcomes.push_back(one);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  return outcomes;
}

// A system call that is harmless here: it succeeds, or fails because of its arguments, unless a
// filter refuses it.
struct Attempt {
  std::string_view name;
  int (*make)();
  int refusal = EPERM;
};

int try_to_bind() {
  const Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in here{};
  here.sin_family = AF_INET;
  here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return outcome(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&here), sizeof here));
}

int try_to_make_a_ring() { return outcome(::syscall(SYS_io_uring_setup, 1, nullptr)); }

int try_to_be_who_it_is() { return outcome(::syscall(SYS_setuid, ::getuid())); }

int try_to_unshare() { return outcome(::syscall(SYS_unshare, 0)); }

int try_to_read_memory() {
  return outcome(::syscall(SYS_process_vm_readv, ::getpid(), nullptr, 0, nullptr, 0, 0));
}

int try_to_execute() {
  const std::array<char*, 1> none{};
  return outcome(::execve("/nowhere/nothing", none.data(), none.data()));
}

int try_to_fork() {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(EXIT_SUCCESS);
  if (child < 0) return errno;
  static_cast<void>(::waitpid(child, nullptr, 0));
  return 0;
}

int try_to_trace() { return outcome(::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr)); }

// The C library then calls clone(2), whose arguments a filter can see.
int try_clone3() { return outcome(::syscall(SYS_clone3, nullptr, 0)); }

constexpr auto kRefused = std::to_array<Attempt>({
    {"bind", try_to_bind},
    {"io_uring_setup", try_to_make_a_ring},
    {"setuid", try_to_be_who_it_is},
    {"unshare", try_to_unshare},
    {"process_vm_readv", try_to_read_memory},
});
constexpr auto kRefusedUnlessSanitized = std::to_array<Attempt>({
    {"execve", try_to_execute},
    {"fork", try_to_fork},
    {"clone3", try_clone3, ENOSYS},
    {"ptrace", try_to_trace},
});

template <class Attempts>
Outcomes make(const Attempts& attempts) {
  Outcomes outcomes;
  for (const Attempt& attempt : attempts) outcomes.push_back(attempt.make());
  return outcomes;
}

// Made by a thread older than the filter, such as a worker's, and by the one that loads it.
template <class Attempts>
Outcomes make_confined(const Attempts& attempts, const ConfinementNeeds& needs = {}) {
  Confinement confinement = confine_early({});
  std::promise<void> confined;
  Outcomes outcomes;
  std::thread worker([&] {
    confined.get_future().wait();
    outcomes = make(attempts);
  });
  confine_late(confinement, needs);
  confined.set_value();
  worker.join();
  const Outcomes own = make(attempts);
  outcomes.insert(outcomes.end(), own.begin(), own.end());
  return outcomes;
}

// The names of calls that something else refuses already: these prove nothing.
template <class Attempts>
std::string check_refusal_of(const Attempts& attempts) {
  const Outcomes free = in_a_child([&] { return make(attempts); });
  const Outcomes confined = in_a_child([&] { return make_confined(attempts); });
  REQUIRE(free.size() == attempts.size());
  REQUIRE(confined.size() == 2 * attempts.size());
  std::string unknown;
  for (std::size_t i = 0; i < attempts.size(); ++i) {
    INFO(attempts[i].name);
    CHECK(confined[i] == attempts[i].refusal);
    CHECK(confined[attempts.size() + i] == attempts[i].refusal);
    if (free[i] == attempts[i].refusal) unknown.append(" ").append(attempts[i].name);
  }
  return unknown;
}

// Read from the kernel, not from the code under test.
bool kernel_has_filters() {
  const std::uint32_t action = SECCOMP_RET_ERRNO;
  return ::syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}
long kernels_landlock() {
  return ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

// Two directories with files in each.
class Places {
 public:
  Places() {
    for (const std::string& directory : {ours(), others()}) {
      std::filesystem::create_directory(directory);
      for (const char* name : {"/file", "/old"}) std::ofstream(directory + name) << "precious";
    }
  }

  [[nodiscard]] std::string ours() const { return root_.file("ours"); }
  [[nodiscard]] std::string others() const { return root_.file("others"); }

 private:
  test::TempDir root_;
};

int try_to_open(const std::string& path, int flags) {
  const Fd fd(::open(path.c_str(), flags | O_CLOEXEC, 0600));
  return fd ? 0 : errno;
}

Outcomes change_files_in(const std::string& directory) {
  const std::string file = directory + "/file";
  return {try_to_open(file, O_WRONLY),
          try_to_open(directory + "/new", O_WRONLY | O_CREAT),
          outcome(::mkdir((directory + "/directory").c_str(), 0700)),
          outcome(::symlink(file.c_str(), (directory + "/link").c_str())),
          outcome(::rename(file.c_str(), (directory + "/renamed").c_str())),
          outcome(::unlink((directory + "/old").c_str()))};
}

}  // namespace

TEST_CASE("capabilities are told by name") {
  CHECK(capability_names("0000000000000000") == "none");
  CHECK(capability_names("0000000000000400") == "net_bind_service");
  CHECK(capability_names("000000000000400b") == "chown, dac_override, fowner, ipc_lock");
  CHECK(capability_names("000001ffffffffff") == "all");
  CHECK(capability_names("0000020000000000") == "41");
  CHECK(capability_names("") == "unknown");
}

TEST_CASE("a confined process is refused what no proxy asks for, in the threads it has already") {
  if (!kernel_has_filters()) MC_SKIP("this kernel has no seccomp filters");
  const std::string unknown = check_refusal_of(kRefused);
  if (!unknown.empty()) MC_SKIP("refused here without mc-proxy's filter too:" + unknown);
}

TEST_CASE("a process that dials from addresses may bind them, and nothing else more") {
  if (!kernel_has_filters()) MC_SKIP("this kernel has no seccomp filters");
  const ConfinementNeeds needs{.source_addresses = true};
  const Outcomes outcomes = in_a_child([&] { return make_confined(kRefused, needs); });
  REQUIRE(outcomes.size() == 2 * kRefused.size());
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    const Attempt& attempt = kRefused[i % kRefused.size()];
    INFO(attempt.name);
    CHECK(outcomes[i] == (attempt.make == try_to_bind ? 0 : attempt.refusal));
  }
}

TEST_CASE("what is refused is told before it is in force, and is what comes into force") {
  if (!kernel_has_filters()) MC_SKIP("this kernel has no seccomp filters");
  const ConfinementNeeds none;
  const ConfinementNeeds sources{.source_addresses = true};
  CHECK(
      refused_calls(sources).ends_with(" system calls refused, bind(2) allowed for [proxy] "
                                       "sources"));
  CHECK(std::stoi(refused_calls(none)) == std::stoi(refused_calls(sources)) + 1);
  for (const ConfinementNeeds& needs : {none, sources}) {
    CHECK(in_a_child([&] {
            Confinement confinement = confine_early({});
            confine_late(confinement, needs);
            return Outcomes{confinement.seccomp == refused_calls(needs)};
          }) == Outcomes{1});
  }
}

TEST_CASE("a confined process makes no processes, and still makes threads") {
  if (kSanitized) MC_SKIP("a sanitizer makes processes, so its build is not refused them");
  if (!kernel_has_filters()) MC_SKIP("this kernel has no seccomp filters");
  const std::string unknown = check_refusal_of(kRefusedUnlessSanitized);
  CHECK(in_a_child([] {
          Confinement confinement = confine_early({});
          confine_late(confinement, {});
          int done = EINVAL;
          std::thread([&done] { done = 0; }).join();
          return Outcomes{done};
        }) == Outcomes{0});
  if (!unknown.empty()) MC_SKIP("refused here without mc-proxy's filter too:" + unknown);
}

TEST_CASE("a confined process changes files below its directories and no others, and reads all") {
  const long abi = kernels_landlock();
  if (abi < 1) MC_SKIP("this kernel has no Landlock");
  const Places places;
  const std::string file = places.others() + "/file";
  CHECK(in_a_child([&] {
          confine_early({places.ours()});
          return change_files_in(places.others());
        }) == Outcomes(6, EACCES));
  CHECK(in_a_child([&] {
          confine_early({places.ours()});
          return change_files_in(places.ours());
        }) == Outcomes(6, 0));
  constexpr long kKnowsTruncate = 3;
  CHECK(in_a_child([&] {
          confine_early({places.ours()});
          return Outcomes{outcome(::truncate(file.c_str(), 8)), try_to_open(file, O_RDONLY),
                          try_to_open("/dev/null", O_WRONLY), try_to_open("/dev/zero", O_WRONLY)};
        }) == Outcomes{abi < kKnowsTruncate ? 0 : EACCES, 0, 0, EACCES});
  // The same, unconfined: it was Landlock that refused.
  CHECK(in_a_child([&] { return change_files_in(places.others()); }) == Outcomes(6, 0));
}

TEST_CASE("Landlock lets a confined process execute nothing, with no filter yet") {
  if (kSanitized) MC_SKIP("a sanitizer runs its symbolizer, so its build is not refused it");
  if (kernels_landlock() < 1) MC_SKIP("this kernel has no Landlock");
  CHECK(in_a_child([] {
          confine_early({});
          const std::array<char*, 1> none{};
          return Outcomes{outcome(::execve("/bin/true", none.data(), none.data()))};
        }) == Outcomes{EACCES});
}

}  // namespace mc::lifecycle
