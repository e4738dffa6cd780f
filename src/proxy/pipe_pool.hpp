// SPDX-License-Identifier: Apache-2.0
#pragma once
// The pipes through which payload passes from socket to socket. A direction leases one while it
// moves bytes and keeps it only while bytes are stuck in it, so that one worker normally moves
// everything through one pipe that stays warm in its cache. Owner thread only.

#include <cstddef>
#include <memory>
#include <vector>

#include "base/fd.hpp"
#include "ring/operations.hpp"

namespace mc::proxy {

/// A pipe and what is in it.
struct Pipe {
  Pipe(ring::Loop& loop, Fd read, Fd write, std::size_t capacity_bytes)
      : read_end(std::move(read)),
        write_end(std::move(write)),
        capacity(capacity_bytes),
        operation(loop) {}

  Fd read_end;
  Fd write_end;
  std::size_t capacity;    // bytes, as the kernel granted them
  std::size_t bytes = 0;   // in the pipe now
  ring::Splice operation;  // the splice in flight, where the engine is the ring

  /// Every byte in a pipe occupies at least its share of a slot, so a splice into an empty pipe
  /// that moved fewer bytes than there are slots was not stopped by the pipe.
  [[nodiscard]] std::size_t slots() const { return capacity / 4096; }
  [[nodiscard]] bool busy() const { return operation.in_flight() || operation.answered(); }
};

class PipePool {
 public:
  PipePool(ring::Loop& loop, std::size_t pipes_max) : loop_(loop), pipes_max_(pipes_max) {}
  PipePool(const PipePool&) = delete;
  PipePool& operator=(const PipePool&) = delete;

  /// An empty pipe, or nothing when the pool is at its cap or the kernel has none left. Give it
  /// back.
  Pipe* acquire();
  /// A pipe that still holds bytes is closed with them: they belonged to a connection that is over.
  void give_back(Pipe* pipe);

  /// Pipes that exist, leased or not.
  [[nodiscard]] std::size_t size() const { return pipes_; }

 private:
  std::unique_ptr<Pipe> open();

  ring::Loop& loop_;
  std::size_t pipes_max_;
  std::size_t pipes_ = 0;
  std::vector<std::unique_ptr<Pipe>> free_;
};

}  // namespace mc::proxy
