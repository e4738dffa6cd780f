// SPDX-License-Identifier: Apache-2.0
#include "proxy/pipe_pool.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <utility>

#include "proxy/limits.hpp"

namespace mc::proxy {

namespace {
bool is_busiest(const Pipe& pipe) { return pipe.capacity >= kBusiestPipeBytes; }
}  // namespace

Pipe::Pipe(PipePool& owner, ring::Loop& loop, Fd read, Fd write, std::size_t capacity_bytes)
    : pool(owner),
      read_end(std::move(read)),
      write_end(std::move(write)),
      capacity(capacity_bytes),
      slots(capacity_bytes / static_cast<std::size_t>(::sysconf(_SC_PAGESIZE))),  // pipe(7)
      operation(loop) {}

void GiveBack::operator()(Pipe* pipe) const { pipe->pool.give_back(pipe); }

PipeLease PipePool::acquire() {
  if (!free_.empty()) {
    PipeLease pipe(free_.back().release());
    free_.pop_back();
    return pipe;
  }
  if (pipes_ == pipes_max_) return nullptr;
  std::unique_ptr<Pipe> pipe = open(has_busiest_ ? kPipeBytes : kBusiestPipeBytes);
  if (pipe == nullptr) return nullptr;
  ++pipes_;
  if (is_busiest(*pipe)) has_busiest_ = true;
  return PipeLease(pipe.release());
}

void PipePool::give_back(Pipe* pipe) {
  std::unique_ptr<Pipe> owned(pipe);
  if (owned->bytes == 0 && !owned->busy() && free_.size() < kPipesKept) {
    keep(std::move(owned));
  } else {
    --pipes_;
    if (is_busiest(*owned)) has_busiest_ = false;
  }
}

// The busiest is leased next, whichever came back last.
void PipePool::keep(std::unique_ptr<Pipe> pipe) {
  free_.push_back(std::move(pipe));
  if (free_.size() < 2) return;
  std::unique_ptr<Pipe>& below = free_[free_.size() - 2];
  if (is_busiest(*below)) std::swap(below, free_.back());
}

std::unique_ptr<Pipe> PipePool::open(int bytes) {
  int ends[2];
  if (::pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0) return nullptr;
  Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  // Refused (EPERM) beyond the user's share of pipe pages: then the pipe stays as small as the
  // kernel made it.
  int capacity = ::fcntl(write_end.get(), F_SETPIPE_SZ, bytes);
  if (capacity < 0) capacity = ::fcntl(write_end.get(), F_SETPIPE_SZ, kPipeBytes);
  if (capacity < 0) capacity = ::fcntl(write_end.get(), F_GETPIPE_SZ);
  if (capacity <= 0) return nullptr;
  return std::make_unique<Pipe>(*this, loop_, std::move(read_end), std::move(write_end),
                                static_cast<std::size_t>(capacity));
}

}  // namespace mc::proxy
