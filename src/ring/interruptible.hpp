// SPDX-License-Identifier: Apache-2.0
#pragma once
// Lets others wake a waiting coroutine early. A session waits for one thing at a time; its
// deadline, or a worker that drains, interrupts that thing without knowing what it is.

namespace mc::ring {

/// Something a coroutine is suspended on. interrupt() requests an early end; the coroutine still
/// resumes through the ordinary path (a cancelled operation returns -ECANCELED when the kernel has
/// released it).
class Interruptible {
 public:
  /// Owner thread only. Harmless when nothing waits.
  virtual void interrupt() = 0;

 protected:
  ~Interruptible() = default;
};

}  // namespace mc::ring
