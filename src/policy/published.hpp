// SPDX-License-Identifier: Apache-2.0
#pragma once
// How a new policy reaches the workers: one writer swaps an atomic pointer, each reader picks it up
// at a point that suits it, and the writer frees the old value when no reader can still be using
// it (quiescent-state-based reclamation). Readers take no reference count, and while nothing is
// published they share only cache lines that nobody writes; the waiting is the writer's.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "base/assert.hpp"

namespace mc::policy {

/// The current one of a succession of immutable values.
template <class T>
class Published {
 public:
  class Reader;

  /// For readers with the indices below `readers`.
  Published(std::unique_ptr<const T> first, std::size_t readers) : current_(first.release()) {
    MC_ASSERT(current_.load() != nullptr, "there is always a value to read");
    for (std::size_t i = 0; i < readers; ++i) readers_.emplace_back(new Reader(*this));
  }
  /// All readers are offline by now.
  ~Published() {
    for (const auto& reader : readers_) {
      MC_ASSERT(reader->seen_.load() == kOffline, "a reader outlives what it reads");
    }
    delete current_.load();
  }
  Published(const Published&) = delete;
  Published& operator=(const Published&) = delete;

  /// The reader with this index; each belongs to one thread.
  [[nodiscard]] Reader& reader(std::size_t index) { return *readers_.at(index); }

  /// Makes `next` the current value. Returns when every reader uses it or is offline; the value
  /// before it is freed by then. That takes as long as the longest turn of a reader; the caller
  /// sleeps meanwhile. One thread at a time, and never a reader's: it would wait for itself.
  void publish(std::unique_ptr<const T> next) {
    MC_ASSERT(next, "there is always a value to read");
    const std::unique_ptr<const T> previous(current_.exchange(next.release()));
    const std::uint64_t epoch = epoch_.fetch_add(1) + 1;
    for (const auto& reader : readers_) wait_until_past(*reader, epoch);
  }

  /// The current value, for the thread that publishes: good until it publishes the next.
  [[nodiscard]] const T& latest() const { return *current_.load(); }

 private:
  static constexpr std::size_t kCacheLine = 64;
  static constexpr std::uint64_t kOffline = 0;

  static void wait_until_past(const Reader& reader, std::uint64_t epoch) {
    // A turn takes microseconds, so the first sleeps are short; one that takes long is not worth a
    // core. To be woken instead, every reader would have to look for a sleeper in every turn.
    constexpr std::chrono::microseconds kSleepMax{1000};
    for (std::chrono::microseconds sleep{10};; sleep = std::min(2 * sleep, kSleepMax)) {
      const std::uint64_t seen = reader.seen_.load();
      if (seen == kOffline || seen >= epoch) return;
      std::this_thread::sleep_for(sleep);
    }
  }

  alignas(kCacheLine) std::atomic<const T*> current_;
  std::atomic<std::uint64_t> epoch_{kOffline + 1};  // counts publications
  std::vector<std::unique_ptr<Reader>> readers_;
};

/// One thread's access to the current value. The thread is online while it uses the value, and goes
/// offline before it sleeps. Starts offline. Lives in its Published, on a cache line of its own.
template <class T>
class alignas(Published<T>::kCacheLine) Published<T>::Reader {
 public:
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  /// Picks up the current value; once per turn. What get() returned in earlier turns ends here.
  void online() {
    const std::uint64_t epoch = source_.epoch_.load();
    // Nothing was published since: the value is good, and `seen_` goes on protecting it.
    if (epoch == seen_.load(std::memory_order_relaxed)) return;
    // A store, then a load, like the writer's exchange and then its look at `seen_`. Both pairs are
    // sequentially consistent, so one side at least sees the other: the writer that this reader is
    // at work, or this reader the new pointer. Release and acquire would let both miss (Dekker).
    // A fence would do too and costs the same, but ThreadSanitizer does not understand fences.
    seen_.store(epoch);
    value_ = source_.current_.load();
  }

  /// Gives the value up, so that no publication waits for this thread.
  void offline() {
    value_ = nullptr;
    seen_.store(kOffline, std::memory_order_release);
  }

  /// The value that online() picked up; good until the next online() or offline().
  [[nodiscard]] const T& get() const& {
    MC_ASSERT(value_ != nullptr, "a reader that is offline has no value");
    return *value_;
  }
  const T& get() const&& = delete;

 private:
  friend Published;
  explicit Reader(const Published& source) : source_(source) {}

  const Published& source_;
  const T* value_ = nullptr;
  // The epoch in which online() last picked up a value, or kOffline. Only the reader writes it.
  std::atomic<std::uint64_t> seen_{kOffline};
};

}  // namespace mc::policy
