// SPDX-License-Identifier: Apache-2.0
#pragma once
// The store's limits, each with its reason.

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace mc::store {

/// Audit entries kept; new ones replace the oldest. Years of an operator's work, or a week of a
/// program that makes a change every six seconds; some 10 MB, also in each snapshot.
inline constexpr std::int64_t kAuditEntriesMax = 100'000;

/// The longest `who`, `action` and `detail` of an audit entry; a longer one is cut and ends in
/// "...". A batch of 100,000 routes is recorded by its size, not by its content.
inline constexpr std::size_t kAuditTextBytesMax = 1024;

/// How long a statement waits for another program that has the database locked (a shell with an
/// open transaction). Short, because changes queue up behind it.
inline constexpr std::chrono::milliseconds kBusyWaitMax{250};

/// How much of the database SQLite keeps in memory: a batch that touches each page of 100,000
/// routes (8 MB) in any order then reads and writes each page once.
inline constexpr int kPageCacheKib = 16 * 1024;

/// How much of the write-ahead log stays on disk, to be overwritten, once its content is in the
/// database: room for some 1,000 changed pages. A log that a large batch made longer is cut to
/// this.
inline constexpr std::int64_t kWalBytesKept = 4 * 1024 * 1024;

/// Commits whose pages may wait in the log when they come faster than it is moved: at some 5 pages
/// each they stay within kWalBytesKept. So the log does not grow, and a sync stays cheap.
inline constexpr int kCommitsInLogMax = 128;

/// The leftover of a killed snapshot is removed when it was not written to for this long: no copy
/// takes a day, so none in progress is removed.
inline constexpr std::chrono::hours kAbandonedCopyAge{24};

/// The newest backups that stay at any age: the clock may be wrong for a while, and a week of daily
/// backups lets an operator undo a mistake.
inline constexpr std::size_t kBackupsKept = 7;

/// Bytes that a start and a small change write: SQLite's index of the log has 32 KiB, each page of
/// the log 4 KiB.
inline constexpr std::int64_t kRoomNeeded = std::int64_t{128} * 1024;

}  // namespace mc::store
