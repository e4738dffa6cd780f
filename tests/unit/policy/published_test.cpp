// SPDX-License-Identifier: Apache-2.0
#include "policy/published.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <latch>
#include <memory>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"

namespace mc::policy {
namespace {

/// A value that counts its living instances and whose content shows whether it was freed.
class Counted {
 public:
  static constexpr std::uint64_t kFreed = 0xdeaddeaddeaddead;

  explicit Counted(std::atomic<int>& alive, std::uint64_t number) : alive_(alive) {
    words_.fill(number);
    alive_.fetch_add(1);
  }
  ~Counted() {
    words_.fill(kFreed);
    alive_.fetch_sub(1);
  }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

  [[nodiscard]] std::uint64_t number() const { return words_[0]; }
  /// Whether all of it comes from one construction.
  [[nodiscard]] bool is_whole() const {
    for (const auto word : words_) {
      if (word != words_[0] || word == kFreed) return false;
    }
    return true;
  }

 private:
  std::atomic<int>& alive_;
  std::array<std::uint64_t, 32> words_;
};

using PublishedCounted = Published<Counted>;

template <class Object>
concept CanGet = requires(Object&& object) { std::forward<Object>(object).get(); };
static_assert(CanGet<const PublishedCounted::Reader&>);
static_assert(!CanGet<PublishedCounted::Reader>, "a reference must not outlive its reader");
static_assert(!std::is_copy_constructible_v<PublishedCounted::Reader>);
static_assert(sizeof(PublishedCounted::Reader) == 64, "readers do not share cache lines");

/// Publishes from a thread of its own, so that the test can see it wait.
class Publication {
 public:
  Publication(PublishedCounted& published, std::unique_ptr<const Counted> next)
      : thread_([this, &published, next = std::move(next)]() mutable {
          published.publish(std::move(next));
          is_done_.store(true);
        }) {}

  [[nodiscard]] bool is_done() const { return is_done_.load(); }
  void join() { thread_.join(); }

 private:
  std::atomic<bool> is_done_{false};
  std::thread thread_;
};

}  // namespace

TEST_CASE("a reader that comes online has the current value") {
  std::atomic<int> alive = 0;
  PublishedCounted published(std::make_unique<Counted>(alive, 1), 1);
  auto& reader = published.reader(0);
  reader.online();
  CHECK(reader.get().number() == 1);
  CHECK(published.latest().number() == 1);
  reader.offline();

  published.publish(std::make_unique<Counted>(alive, 2));
  CHECK(published.latest().number() == 2);
  reader.online();
  CHECK(reader.get().number() == 2);
  reader.offline();
}

TEST_CASE("a publication frees the value before it, and the end frees the last") {
  std::atomic<int> alive = 0;
  {
    PublishedCounted published(std::make_unique<Counted>(alive, 0), 3);
    for (std::uint64_t i = 1; i < 100; ++i) {
      published.publish(std::make_unique<Counted>(alive, i));
      CHECK(alive == 1);
    }
  }
  CHECK(alive == 0);
}

TEST_CASE("a value stays while a reader that is online uses it") {
  std::atomic<int> alive = 0;
  PublishedCounted published(std::make_unique<Counted>(alive, 1), 2);
  auto& reader = published.reader(1);
  reader.online();
  const Counted& in_use = reader.get();

  Publication publication(published, std::make_unique<Counted>(alive, 2));
  while (published.latest().number() != 2) std::this_thread::yield();
  CHECK(in_use.is_whole());
  CHECK(in_use.number() == 1);
  CHECK(alive == 2);
  CHECK_FALSE(publication.is_done());

  SECTION("until the reader takes up the new one") {
    // The pointer is swapped a moment before the epoch counts it.
    while (reader.online(), reader.get().number() != 2) std::this_thread::yield();
    publication.join();
    CHECK(reader.get().number() == 2);
    reader.offline();
  }
  SECTION("until the reader goes offline") {
    reader.offline();
    publication.join();
  }
  CHECK(alive == 1);
}

TEST_CASE("a reader without a new value keeps the one it has through many turns") {
  std::atomic<int> alive = 0;
  PublishedCounted published(std::make_unique<Counted>(alive, 1), 1);
  auto& reader = published.reader(0);
  reader.online();
  const Counted* first = &reader.get();
  for (int i = 0; i < 10; ++i) {
    reader.online();
    CHECK(&reader.get() == first);
  }
  reader.offline();
}

TEST_CASE("readers at full speed never see a value that is torn, old or freed") {
  constexpr std::size_t kReaders = 4;
  // Readers that do not run see nothing: it continues until they have seen enough new values.
  constexpr std::uint64_t kPublicationsMin = 500;
  constexpr std::uint64_t kPublicationsMax = 1'000'000;
  constexpr std::uint64_t kTakenUpMin = 500;
  std::atomic<int> alive = 0;
  std::atomic<std::uint64_t> published_number = 0;  // what publish() has returned for
  std::atomic<std::uint64_t> taken_up = 0;
  std::atomic<int> wrong = 0;
  std::atomic<bool> is_over = false;
  std::latch all_at_work(kReaders + 1);
  {
    PublishedCounted published(std::make_unique<Counted>(alive, 0), kReaders);
    std::vector<std::thread> threads;
    for (std::size_t index = 0; index < kReaders; ++index) {
      threads.emplace_back([&, index] {
        auto& reader = published.reader(index);
        std::uint64_t last = 0;
        all_at_work.arrive_and_wait();
        for (std::uint64_t turn = 0; !is_over.load(std::memory_order_relaxed); ++turn) {
          const std::uint64_t at_least = published_number.load();
          reader.online();
          const Counted& value = reader.get();
          const std::uint64_t number = value.number();
          if (number < at_least || number < last) wrong.fetch_add(1);
          for (int use = 0; use < 4; ++use) {
            if (!value.is_whole() || value.number() != number) wrong.fetch_add(1);
          }
          if (number != last) taken_up.fetch_add(1, std::memory_order_relaxed);
          last = number;
          if (turn % (1 + index) == 0) reader.offline();
        }
        reader.offline();
      });
    }
    all_at_work.arrive_and_wait();
    for (std::uint64_t number = 1;
         number <= kPublicationsMin || (taken_up < kTakenUpMin && number <= kPublicationsMax);
         ++number) {
      published.publish(std::make_unique<Counted>(alive, number));
      published_number.store(number);
      if (alive != 1) wrong.fetch_add(1);
    }
    is_over.store(true);
    for (auto& thread : threads) thread.join();
  }
  CHECK(taken_up >= kTakenUpMin);
  CHECK(wrong == 0);
  CHECK(alive == 0);
}

}  // namespace mc::policy
