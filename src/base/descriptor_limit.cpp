// SPDX-License-Identifier: Apache-2.0
#include "base/descriptor_limit.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <mutex>

namespace mc {
namespace {

std::mutex users_lock;
int users = 0;
rlim_t soft_before = 0;      // the first of them
bool is_shared_out = false;  // before other threads are made

bool set_soft_limit(rlim_t soft) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return false;
  limit.rlim_cur = std::min(soft, limit.rlim_max);
  return ::setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

rlim_t without_those_of_operators(rlim_t hard) {
  return hard - std::min<rlim_t>(kDescriptorsOfOperators, hard / 8);
}

}  // namespace

std::uint64_t raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;  // what POSIX systems give at least
  is_shared_out = set_soft_limit(without_those_of_operators(limit.rlim_max));
  return is_shared_out ? limit.rlim_max : limit.rlim_cur;
}

OperatorDescriptors::OperatorDescriptors() {
  const std::lock_guard lock(users_lock);
  rlimit limit{};
  if (users++ != 0 || !is_shared_out || ::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  soft_before = limit.rlim_cur;
  set_soft_limit(limit.rlim_max);
}

OperatorDescriptors::~OperatorDescriptors() {
  const std::lock_guard lock(users_lock);
  if (--users == 0 && is_shared_out) set_soft_limit(soft_before);
}

}  // namespace mc
