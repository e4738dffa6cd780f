// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a worker does with all of its open connections, in slices between which it serves: cut,
// close, count, list. A request to the data plane becomes one sweep for each worker.

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "policy/firewall.hpp"
#include "policy/live_pool.hpp"
#include "proxy/live_connection.hpp"
#include "traffic/connection.hpp"

namespace mc::proxy {

/// Made on any thread; used and destroyed on the worker's. If the worker ends before the walk does,
/// the sweep is destroyed: its destructor reports that nothing more will come.
class Sweep {
 public:
  virtual ~Sweep() = default;

  /// Whether the next slice can be done. kRest: wake the worker when it can. kGiveUp: nobody wants
  /// the results any more.
  enum class Next : std::uint8_t { kSlice, kRest, kGiveUp };
  virtual Next next() = 0;

  /// Whether the connection took work; a slice does that for at most acts_per_slice().
  enum class Visit : std::uint8_t { kPassed, kActed };
  virtual Visit visit(LiveConnection& connection, Instant now) = 0;
  [[nodiscard]] virtual std::size_t acts_per_slice() const = 0;

  /// Hands over the results of the slice.
  virtual void slice_done() {}
};

/// Resets the connections whose client `firewall` does not admit.
class CutSweep final : public Sweep {
 public:
  explicit CutSweep(std::shared_ptr<const policy::Firewall> firewall)
      : firewall_(std::move(firewall)) {}

  Next next() override { return Next::kSlice; }
  Visit visit(LiveConnection& connection, Instant now) override;
  [[nodiscard]] std::size_t acts_per_slice() const override;

 private:
  const std::shared_ptr<const policy::Firewall> firewall_;
};

/// Resets the connections that have a backend of a pool which went down. Those that still dial it
/// go to another one by themselves.
class BackendDownSweep final : public Sweep {
 public:
  explicit BackendDownSweep(std::shared_ptr<const policy::BackendState> backend)
      : backend_(std::move(backend)) {}

  Next next() override { return Next::kSlice; }
  Visit visit(LiveConnection& connection, Instant now) override;
  [[nodiscard]] std::size_t acts_per_slice() const override;

 private:
  const std::shared_ptr<const policy::BackendState> backend_;
};

/// Where the sweeps of one request put their results, and the requesting thread takes them. Any
/// thread.
class SweepResults {
 public:
  explicit SweepResults(const traffic::ConnectionFilter& filter) : filter_(filter) {}

  [[nodiscard]] const traffic::ConnectionFilter& filter() const { return filter_; }

  // ---- the sweeps

  void began();
  void ended();
  /// Whether there is room for the results of a slice. If not, `wanted` of take() will be set.
  Sweep::Next next();
  /// Takes the rows out of `rows`.
  void add(std::vector<traffic::Connection>& rows, std::size_t count);

  // ---- the requesting thread

  struct Taken {
    std::vector<traffic::Connection> rows;
    bool over = false;    // nothing more will come
    bool wanted = false;  // a sweep rests, and there is room now: wake the workers
  };
  /// Waits for rows or the end, at most kResultsWaitMax.
  Taken take();
  /// Connections found so far, with or without rows.
  [[nodiscard]] std::uint64_t count() const;
  void give_up();

 private:
  const traffic::ConnectionFilter filter_;
  mutable std::mutex lock_;
  std::condition_variable changed_;
  std::vector<traffic::Connection> rows_;
  std::uint64_t count_ = 0;
  std::size_t sweeps_ = 0;
  bool rests_ = false;
  bool given_up_ = false;
};

/// What to do with the connections that a filter matches.
enum class SweepAction : std::uint8_t { kList, kCount, kClose };

/// Does it with those that the filter of `results` matches.
class FilterSweep final : public Sweep {
 public:
  FilterSweep(std::shared_ptr<SweepResults> results, SweepAction action);
  ~FilterSweep() override { results_->ended(); }
  FilterSweep(const FilterSweep&) = delete;
  FilterSweep& operator=(const FilterSweep&) = delete;

  Next next() override { return results_->next(); }
  Visit visit(LiveConnection& connection, Instant now) override;
  [[nodiscard]] std::size_t acts_per_slice() const override;
  void slice_done() override;

 private:
  const std::shared_ptr<SweepResults> results_;
  const SweepAction action_;
  std::vector<traffic::Connection> rows_;  // of this slice
  std::size_t count_ = 0;                  // likewise
};

}  // namespace mc::proxy
