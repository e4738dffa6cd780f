// SPDX-License-Identifier: Apache-2.0
#include "ring/buffer_group.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

namespace mc::ring {

namespace {

std::size_t ring_bytes(unsigned count) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return (count * sizeof(io_uring_buf) + page - 1) / page * page;
}

io_uring_buf_ring* ring_of(std::span<std::uint8_t> memory) {
  return reinterpret_cast<io_uring_buf_ring*>(memory.data());
}

}  // namespace

std::expected<std::unique_ptr<BufferGroup>, SetupError> BufferGroup::create(Loop& loop,
                                                                            std::uint16_t id,
                                                                            unsigned count,
                                                                            std::size_t bytes) {
  const std::size_t size = ring_bytes(count) + count * bytes;
  void* const memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return std::unexpected(SetupError{errno, "mmap"});
  const std::span<std::uint8_t> span(static_cast<std::uint8_t*>(memory), size);

  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<std::uintptr_t>(ring_of(span));
  registration.ring_entries = count;
  registration.bgid = id;
  if (const int result = io_uring_register_buf_ring(&loop.raw(), &registration, 0); result < 0) {
    ::munmap(memory, size);
    return std::unexpected(SetupError{-result, "io_uring_register(IORING_REGISTER_PBUF_RING)"});
  }
  return std::unique_ptr<BufferGroup>(new BufferGroup(loop, id, count, bytes, span));
}

BufferGroup::BufferGroup(Loop& loop, std::uint16_t id, unsigned count, std::size_t bytes,
                         std::span<std::uint8_t> memory)
    : loop_(loop),
      id_(id),
      count_(count),
      bytes_each_(bytes),
      memory_(memory),
      ring_bytes_(ring_bytes(count)) {
  io_uring_buf_ring_init(ring_of(memory_));
  for (unsigned i = 0; i < count; ++i) offer(static_cast<std::uint16_t>(i));
}

BufferGroup::~BufferGroup() {
  static_cast<void>(io_uring_unregister_buf_ring(&loop_.raw(), id_));
  ::munmap(memory_.data(), memory_.size());
}

std::uint8_t* BufferGroup::at(std::uint16_t index) const {
  return memory_.data() + ring_bytes_ + index * bytes_each_;
}

std::uint16_t BufferGroup::index_of(unsigned cqe_flags) {
  return static_cast<std::uint16_t>(cqe_flags >> IORING_CQE_BUFFER_SHIFT);
}

std::span<const std::uint8_t> BufferGroup::filled(unsigned cqe_flags, std::size_t size) const {
  MC_ASSERT(size <= bytes_each_, "a receive answered more bytes than its buffer holds");
  return {at(index_of(cqe_flags)), size};
}

void BufferGroup::offer(std::uint16_t index) {
  io_uring_buf_ring* const ring = ring_of(memory_);
  io_uring_buf_ring_add(ring, at(index), static_cast<unsigned>(bytes_each_), index,
                        io_uring_buf_ring_mask(count_), 0);
  io_uring_buf_ring_advance(ring, 1);
}

}  // namespace mc::ring
