// SPDX-License-Identifier: Apache-2.0
#pragma once
// RLIMIT_NOFILE (getrlimit(2)), divided: the soft limit, which binds the rings, stays a few below
// the hard one. When connections have used all theirs, an operator who looks for the reason, or
// makes room, still gets a descriptor.

#include <cerrno>
#include <cstdint>
#include <string_view>

namespace mc {

/// Descriptors reserved for operators; an eighth of all, where that is less.
inline constexpr std::uint64_t kDescriptorsOfOperators = 16;

/// Raises the soft limit to the hard one minus the operators' share. Returns the hard one. Call it
/// before other threads are made and accepts are armed: a standing accept keeps the limit of that
/// moment.
std::uint64_t raise_descriptor_limit();

/// While one of these lives, new descriptors of this process may come from the operators' share
/// too. Keep it for one call. No effect where raise_descriptor_limit() was not called, or may not
/// change the limit. Any thread.
class OperatorDescriptors {
 public:
  OperatorDescriptors();
  OperatorDescriptors(const OperatorDescriptors&) = delete;
  OperatorDescriptors& operator=(const OperatorDescriptors&) = delete;
  ~OperatorDescriptors();
};

/// Whether a call failed because the process or the system has no descriptor left.
inline bool out_of_descriptors(int error) { return error == EMFILE || error == ENFILE; }

/// The remedy then, in a message to the operator.
inline constexpr std::string_view kRaiseDescriptorLimit =
    "Raise RLIMIT_NOFILE (systemd: LimitNOFILE=)";

/// The Fd that `open` returns; retried with the operators' descriptors where none was left.
template <class Open>
auto open_for_operator(Open open) {
  auto opened = open();
  if (opened || !out_of_descriptors(errno)) return opened;
  const OperatorDescriptors all;
  return open();
}

}  // namespace mc
