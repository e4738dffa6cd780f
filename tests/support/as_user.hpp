// SPDX-License-Identifier: Apache-2.0
#pragma once
// Work of another user's, in a test that runs as root: what files and sockets refuse to root is not
// seen.

#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <thread>

namespace mc::test {

inline constexpr uid_t kNobody = 65534;

/// Does `work` as another user, on a thread of its own: the system call, unlike the library's, does
/// not change the others. Not done where this process may not.
template <class Work>
void as_user(uid_t uid, Work work) {
  std::thread([&] {
    if (::syscall(SYS_setresuid, uid, uid, uid) == 0) work();
  }).join();
}

/// Does `work` as one whom modes bind: as this user, or as nobody where this is root.
template <class Work>
void without_privilege(Work work) {
  if (::geteuid() == 0) {
    as_user(kNobody, work);
  } else {
    work();
  }
}

}  // namespace mc::test
