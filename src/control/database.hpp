// SPDX-License-Identifier: Apache-2.0
#pragma once
// The database as the control plane has it: open, only read because nothing can be written, or
// released to another process. All that Control needs of a store is here; another kind of store
// would have these functions.

#include <cstddef>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.hpp"
#include "base/result.hpp"
#include "control/warnings.hpp"
#include "store/store.hpp"

namespace mc::control {

/// Belongs to one thread at a time, which is the holder of Control's writer lock; snapshot() and
/// audit_after() may run beside it on any thread. Raises and clears the warnings about the
/// database, and logs what becomes of it.
class Database {
 public:
  /// `warnings` and `log` outlive it.
  Database(std::string path, Warnings& warnings, Log& log)
      : path_(std::move(path)), warnings_(warnings), log_(log) {}

  /// Opens the file, or makes a new one, and returns what is in it. Traffic needs nothing more of
  /// it, so a file that cannot be written is only read. Errors leave it as it was. Once.
  Result<store::Contents> open();

  [[nodiscard]] const std::string& path() const { return path_; }
  /// Another process may have it open: after release().
  [[nodiscard]] bool is_released() const { return is_released_; }
  /// Opens a file that could only be read until now, if it can be written. An error says why it
  /// still cannot.
  Result<void> require_writable();

  /// See store::Store. Only after require_writable().
  std::expected<store::Revision, store::CommitError> commit(const store::ChangeSet& changes,
                                                            const store::AuditEntry& entry);
  Result<store::Contents> load() { return store_->load(); }
  /// See store::Store::volume_missed().
  [[nodiscard]] std::string volume_missed() const;

  /// To be called about once a second: lets the store do what no change should wait for, and looks
  /// whether another program has replaced the file.
  void tick();

  /// Closes the file, so that another process may open it.
  void release();
  /// Opens it again. An error, which says what to do, leaves it released.
  Result<void> take_back();

  /// The oldest `most` changes after this revision that the audit table has.
  [[nodiscard]] Result<std::vector<store::AuditRecord>> audit_after(store::Revision revision,
                                                                    std::size_t most) const;
  /// A complete copy as a new file at `destination`.
  Result<void> snapshot(const std::string& destination) const;

 private:
  Result<store::Contents> read(const Error& why_not_open);
  /// As this process left it; an error where it was changed meanwhile.
  Result<std::unique_ptr<store::Store>> open_again();
  void watch_files();

  const std::string path_;
  Warnings& warnings_;
  Log& log_;
  std::unique_ptr<store::Store> store_;  // null: it is released, or only read
  store::Revision revision_ = 0;         // of the last commit
  bool is_released_ = false;
  std::optional<std::string> read_only_;  // why it is only read, as long as it is so
};

}  // namespace mc::control
