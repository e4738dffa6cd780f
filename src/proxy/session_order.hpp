// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a worker is told to do with its sessions, all of them, in slices between which it serves:
// cut, close, count, list. What is asked of the data plane becomes one order for each worker.

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "policy/firewall.hpp"
#include "proxy/connection.hpp"

namespace mc::proxy {

class Session;

/// Made by whoever asks, on any thread; used and destroyed on the worker's. Where the worker has
/// ended, or ends before the walk does, it is destroyed then: so its destructor is what tells that
/// nothing more will come of it.
class SessionOrder {
 public:
  virtual ~SessionOrder() = default;

  /// Whether the next slice can be done: kRest, the worker is woken when it can; kGiveUp, nobody
  /// wants it any more.
  enum class Next : std::uint8_t { kSlice, kRest, kGiveUp };
  virtual Next next() = 0;

  /// Whether the session took work, of which a slice does acts_per_slice() at most.
  enum class Visit : std::uint8_t { kPassed, kActed };
  virtual Visit visit(Session& session) = 0;
  [[nodiscard]] virtual std::size_t acts_per_slice() const = 0;

  /// What the slice has gathered is handed over.
  virtual void slice_done() {}
};

/// Resets the sessions whose client `whom` does not admit.
class CutOrder final : public SessionOrder {
 public:
  explicit CutOrder(std::shared_ptr<const policy::Firewall> whom) : whom_(std::move(whom)) {}

  Next next() override { return Next::kSlice; }
  Visit visit(Session& session) override;
  [[nodiscard]] std::size_t acts_per_slice() const override;

 private:
  const std::shared_ptr<const policy::Firewall> whom_;
};

/// Where the orders of one request put what they find, and the thread that asked takes it. Any
/// thread.
class Findings {
 public:
  explicit Findings(const ConnectionFilter& filter) : filter_(filter) {}

  [[nodiscard]] const ConnectionFilter& filter() const { return filter_; }

  // ---- the orders

  void began();
  void ended();
  /// Whether there is room for what a slice finds. If not, `wanted` of take() will say so.
  SessionOrder::Next next();
  /// Takes the rows out of `rows`.
  void add(std::vector<Connection>& rows, std::size_t count);

  // ---- the one who asked

  struct Taken {
    std::vector<Connection> rows;
    bool over = false;    // nothing more will come
    bool wanted = false;  // an order rests, and has room now: wake the workers
  };
  /// Waits for rows or the end, but not for longer than kFindingsWaitMax.
  Taken take();
  /// What was found so far, rows or not.
  [[nodiscard]] std::uint64_t count() const;
  void give_up();

 private:
  const ConnectionFilter filter_;
  mutable std::mutex lock_;
  std::condition_variable changed_;
  std::vector<Connection> rows_;
  std::uint64_t count_ = 0;
  std::size_t orders_ = 0;
  bool rests_ = false;
  bool given_up_ = false;
};

/// What is done with the sessions that a filter matches.
enum class Treatment : std::uint8_t { kList, kCount, kClose };

/// Treats the sessions that the filter of `findings` matches.
class FilterOrder final : public SessionOrder {
 public:
  FilterOrder(std::shared_ptr<Findings> findings, Treatment treatment);
  ~FilterOrder() override { findings_->ended(); }
  FilterOrder(const FilterOrder&) = delete;
  FilterOrder& operator=(const FilterOrder&) = delete;

  Next next() override { return findings_->next(); }
  Visit visit(Session& session) override;
  [[nodiscard]] std::size_t acts_per_slice() const override;
  void slice_done() override;

 private:
  const std::shared_ptr<Findings> findings_;
  const Treatment treatment_;
  std::vector<Connection> rows_;  // of this slice
  std::size_t count_ = 0;         // likewise
};

}  // namespace mc::proxy
