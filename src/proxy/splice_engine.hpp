// SPDX-License-Identifier: Apache-2.0
#pragma once
// Makes a splice: inline, as a system call of the ring's thread once the ring has reported the
// socket as ready; or in the ring, as IORING_OP_SPLICE. Both move the same bytes. ARCHITECTURE.md
// has the measurements behind the default.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "proxy/pipe_pool.hpp"
#include "ring/event.hpp"

namespace mc::proxy {

enum class SpliceMode : std::uint8_t { kInline, kRing };

/// Moves bytes between a socket and a pipe. Stateless; owner thread only.
class SpliceEngine {
 public:
  virtual ~SpliceEngine() = default;

  /// Moves up to `length` bytes from one descriptor to the other, one of which is an end of `pipe`.
  /// Returns the number moved, 0 at the end of the stream, or -errno (EAGAIN: nothing can move
  /// now). Without a value the splice is under way: `event` is notified when it has ended, and then
  /// the same call returns its result.
  virtual std::optional<int> splice(Pipe& pipe, int from, int to, std::size_t length,
                                    ring::Event& event) = 0;

  static std::unique_ptr<SpliceEngine> make(SpliceMode mode);
};

}  // namespace mc::proxy
