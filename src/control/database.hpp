// SPDX-License-Identifier: Apache-2.0
#pragma once
// The control plane's database, in one of three states: open; read-only, because it cannot be
// written; or released to another process. These functions are all that Control needs of a store,
// so another kind of store would have the same.

#include <cstddef>
#include <expected>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/log.hpp"
#include "base/result.hpp"
#include "control/warnings.hpp"
#include "store/store.hpp"

namespace mc::control {

/// Only the thread that holds Control's writer lock uses it; snapshot() and audit_after() may run
/// on any thread at the same time. Raises and clears the warnings about the database, and logs its
/// changes of state.
class Database {
 public:
  /// `warnings` and `log` must outlive it.
  Database(std::string path, Warnings& warnings, Log& log)
      : path_(std::move(path)), warnings_(warnings), log_(log) {}

  /// Opens the file, or creates it, and returns its contents. A file that cannot be written is only
  /// read, which is enough for traffic. Errors leave the file as it was. Call it once.
  Result<store::Contents> open();

  [[nodiscard]] const std::string& path() const { return path_; }
  /// Whether another process may have it open: after release().
  [[nodiscard]] bool is_released() const { return is_released_; }
  /// Opens a file that was read-only until now, if it can be written. An error names the reason why
  /// it still cannot.
  Result<void> require_writable();

  /// See store::Store. Only after require_writable().
  std::expected<store::Revision, store::CommitError> commit(const store::ChangeSet& changes,
                                                            const store::AuditEntry& entry);
  Result<store::Contents> load() { return store_->load(); }
  /// See store::Store::volume_missed().
  [[nodiscard]] std::string volume_missed() const;

  /// Keeps these answers of DNS soon, in tick(). What prevents that is logged.
  void remember(store::ResolvedChanges changes);

  /// To be called about once a second. Runs the store's checkpoint, for which no change should
  /// wait, and checks whether another program has replaced the file.
  void tick();

  /// Closes the file, so that another process can open it.
  void release();
  /// Opens it again. After an error, which names the remedy, it is still released.
  Result<void> take_back();

  /// The oldest `most` changes after this revision in the audit table.
  [[nodiscard]] Result<std::vector<store::AuditRecord>> audit_after(store::Revision revision,
                                                                    std::size_t most) const;
  /// A complete copy as a new file at `destination`.
  Result<void> snapshot(const std::string& destination) const;

 private:
  Result<store::Contents> read(const Error& why_not_open);
  /// Opens the file; an error if it was changed since this process left it.
  Result<std::unique_ptr<store::Store>> open_again();
  void watch_files();
  void write_answers();

  const std::string path_;
  Warnings& warnings_;
  Log& log_;
  std::unique_ptr<store::Store> store_;  // null: released, or read-only
  store::Revision revision_ = 0;         // of the last commit
  bool is_released_ = false;
  std::optional<std::string> read_only_;  // why it is read-only; nothing if it is not
  /// Answers that are not written yet; nothing: to be removed.
  std::map<std::string, std::optional<store::ResolvedRecord>> answers_;
  Instant answers_due_;        // not before
  std::string answers_error_;  // of the last attempt
};

}  // namespace mc::control
