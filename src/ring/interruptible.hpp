// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a waiting coroutine can be woken from early. A session waits for one thing at a time; its
// deadline, or a worker that drains, interrupts that one thing without having to know what it is.

namespace mc::ring {

/// Something a coroutine is suspended on. interrupt() asks for an early end; the coroutine still
/// resumes through the ordinary path (a cancelled operation returns -ECANCELED when the kernel has
/// let go of it).
class Interruptible {
 public:
  /// Owner thread only. Harmless when nothing waits.
  virtual void interrupt() = 0;

 protected:
  ~Interruptible() = default;
};

}  // namespace mc::ring
