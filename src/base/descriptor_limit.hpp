// SPDX-License-Identifier: Apache-2.0
#pragma once
// RLIMIT_NOFILE (getrlimit(2)), shared out: the soft limit, which binds the rings, stays a few
// below the hard one. When connections have taken all that they may, an operator who looks for the
// reason, or makes room, still gets a descriptor.

#include <cerrno>
#include <cstdint>

namespace mc {

/// Descriptors that connections never get; an eighth of all, where that is less.
inline constexpr std::uint64_t kDescriptorsOfOperators = 16;

/// Raises the soft limit to the hard one less those of operators. Returns the hard one. Before
/// other threads are made and accepts are armed: the kernel takes the limit of a standing accept
/// then.
std::uint64_t raise_descriptor_limit();

/// As long as one of these lives, new descriptors of this process may be those of operators too.
/// For the moment of one call; without effect where raise_descriptor_limit() was not called, or may
/// not change the limit. Any thread.
class OperatorDescriptors {
 public:
  OperatorDescriptors();
  OperatorDescriptors(const OperatorDescriptors&) = delete;
  OperatorDescriptors& operator=(const OperatorDescriptors&) = delete;
  ~OperatorDescriptors();
};

/// Whether a call failed because the process or the system has no descriptor left.
inline bool out_of_descriptors(int error) { return error == EMFILE || error == ENFILE; }

/// What `open` returns, an Fd; tried again with the descriptors of operators where it fails for
/// want of one.
template <class Open>
auto open_for_operator(Open open) {
  auto opened = open();
  if (opened || !out_of_descriptors(errno)) return opened;
  const OperatorDescriptors all;
  return open();
}

}  // namespace mc
