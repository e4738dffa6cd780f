// SPDX-License-Identifier: Apache-2.0
#pragma once
// Buffers that the kernel picks from when it has bytes to put into one
// (io_uring_register_buf_ring(3)), so that thousands of waiting receives share a few. One group of
// a ring; owner thread only.

#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <span>

#include "ring/loop.hpp"

namespace mc::ring {

class BufferGroup {
 public:
  /// Makes `count` (a power of two) buffers of `bytes` each and registers them under `id`. Memory
  /// is reserved, and costs nothing until a receive touches it.
  static std::expected<std::unique_ptr<BufferGroup>, SetupError> create(Loop& loop,
                                                                        std::uint16_t id,
                                                                        unsigned count,
                                                                        std::size_t bytes);
  BufferGroup(const BufferGroup&) = delete;
  BufferGroup& operator=(const BufferGroup&) = delete;
  ~BufferGroup();

  [[nodiscard]] std::uint16_t id() const { return id_; }

  /// The first `size` bytes of the buffer that a completion with these flags (IORING_CQE_F_BUFFER)
  /// names.
  [[nodiscard]] std::span<const std::uint8_t> filled(unsigned cqe_flags, std::size_t size) const;
  /// Returns that buffer to the kernel.
  void give_back(unsigned cqe_flags) { offer(index_of(cqe_flags)); }

 private:
  BufferGroup(Loop& loop, std::uint16_t id, unsigned count, std::size_t bytes,
              std::span<std::uint8_t> memory);

  [[nodiscard]] std::uint8_t* at(std::uint16_t index) const;
  void offer(std::uint16_t index);
  static std::uint16_t index_of(unsigned cqe_flags);

  Loop& loop_;
  std::uint16_t id_;
  unsigned count_;
  std::size_t bytes_each_;
  std::span<std::uint8_t> memory_;  // the ring's page(s), then the buffers; from mmap(2)
  std::size_t ring_bytes_;
};

}  // namespace mc::ring
