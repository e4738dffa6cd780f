// SPDX-License-Identifier: Apache-2.0
#pragma once
// The store's limits, each with its reason.

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace mc::store {

/// Audit entries kept; the oldest go as new ones come. Years of an operator's work, or a week of a
/// program that makes a change every six seconds; some 10 MB, which also are in each snapshot.
inline constexpr std::int64_t kAuditEntriesMax = 100'000;

/// The longest `who`, `action` and `detail` of an audit entry; what is longer is cut and ends in
/// "...". The batch that changed 100,000 routes is told by its size, not by its content.
inline constexpr std::size_t kAuditTextBytesMax = 1024;

/// How long a statement waits for another program that has the database locked (a shell with an
/// open transaction). Changes queue up behind it, so it is short.
inline constexpr std::chrono::milliseconds kBusyWaitMax{250};

/// How much of the database SQLite keeps in memory, as far as there is as much: a batch that
/// touches each page of 100,000 routes (8 MB) in no order then reads and writes each page once.
inline constexpr int kPageCacheKib = 16 * 1024;

/// How much of the write-ahead log stays on disk, to be written over, once its content is in the
/// database: room for some 1,000 changed pages. One that a large batch has blown up is cut to this.
inline constexpr std::int64_t kWalBytesKept = 4 * 1024 * 1024;

/// Commits whose pages may wait in the log when they come faster than it is moved: at some 5 pages
/// each they stay within kWalBytesKept, so that the log does not grow, and a sync stays cheap.
inline constexpr int kCommitsInLogMax = 128;

/// What a snapshot that was killed has left behind is removed when nothing was written to it for as
/// long: no copy takes a day, so none that is being made is taken for one.
inline constexpr std::chrono::hours kAbandonedCopyAge{24};

/// The newest backups that stay whatever their age: the clock that gives it may be wrong for a
/// while, and a week of daily ones is what a mistake is undone with.
inline constexpr std::size_t kBackupsKept = 7;

/// Bytes that a start and a small change write: SQLite's index of the log has 32 KiB, each page of
/// the log 4 KiB.
inline constexpr std::int64_t kRoomNeeded = std::int64_t{128} * 1024;

}  // namespace mc::store
