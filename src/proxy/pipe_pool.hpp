// SPDX-License-Identifier: Apache-2.0
#pragma once
// The pipes through which payload passes from socket to socket. A direction leases one while it
// moves bytes and keeps it only while bytes are stuck in it, so that one worker normally moves
// everything through one pipe, the largest, that stays warm in its cache. Owner thread only.

#include <cstddef>
#include <memory>
#include <vector>

#include "base/fd.hpp"
#include "ring/operations.hpp"

namespace mc::proxy {

class PipePool;

/// A pipe and what is in it.
struct Pipe {
  Pipe(PipePool& owner, ring::Loop& loop, Fd read, Fd write, std::size_t capacity_bytes);

  PipePool& pool;
  Fd read_end;
  Fd write_end;
  std::size_t capacity;    // bytes, as the kernel granted them
  std::size_t slots;       // pieces of memory that it can hold, each of at least one byte
  std::size_t bytes = 0;   // in the pipe now
  ring::Splice operation;  // the splice in flight, where the engine uses the ring

  [[nodiscard]] bool busy() const { return operation.in_flight() || operation.has_result(); }
};

struct GiveBack {
  void operator()(Pipe* pipe) const;
};

/// A pipe returns to its pool with its lease. One that still holds bytes is closed with them: their
/// connection has ended.
using PipeLease = std::unique_ptr<Pipe, GiveBack>;

class PipePool {
 public:
  PipePool(ring::Loop& loop, std::size_t pipes_max) : loop_(loop), pipes_max_(pipes_max) {}
  PipePool(const PipePool&) = delete;
  PipePool& operator=(const PipePool&) = delete;

  /// An empty pipe, or nothing when the pool is at its cap or the kernel has none left.
  PipeLease acquire();

  /// Pipes that exist, leased or not.
  [[nodiscard]] std::size_t size() const { return pipes_; }

 private:
  friend GiveBack;

  void give_back(Pipe* pipe);
  void keep(std::unique_ptr<Pipe> pipe);
  std::unique_ptr<Pipe> open(int bytes);

  ring::Loop& loop_;
  std::size_t pipes_max_;
  std::size_t pipes_ = 0;
  bool has_busiest_ = false;  // whether the one of kBusiestPipeBytes exists
  std::vector<std::unique_ptr<Pipe>> free_;
};

}  // namespace mc::proxy
