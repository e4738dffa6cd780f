// SPDX-License-Identifier: Apache-2.0
#include "control/database.hpp"

#include <fmt/format.h>

#include <utility>

#include "base/quote.hpp"
#include "control/limits.hpp"

namespace mc::control {

// ---- opened, only read, released

Result<store::Contents> Database::open() {
  auto opened = store::Store::open(path_);
  if (!opened.has_value()) return read(opened.error());
  store_ = *std::move(opened);
  for (const std::string& notice : store_->notices()) log_.warn(notice);
  auto contents = store_->load();
  if (contents.has_value()) revision_ = contents->revision;
  return contents;
}

Result<store::Contents> Database::read(const Error& why_not_open) {
  const auto why = store::Store::cannot_be_written(path_);
  if (!why.has_value() || store::Store::holder(path_) != 0) return std::unexpected(why_not_open);
  auto contents = store::Store::inspect(path_);
  if (!contents.has_value() || contents->revision == 0) return std::unexpected(why_not_open);
  revision_ = contents->revision;
  read_only_ = why->message;
  warnings_.raise(WarningKind::kDatabaseReadOnly, why->message);
  log_.error(
      "the database cannot be written; its routes and rules are served, and changes are refused "
      "until it can be written",
      {{"error", why->message}});
  return contents;
}

Result<void> Database::require_writable() {
  if (store_ != nullptr) return {};
  if (!read_only_.has_value()) return fail("the database is closed");
  if (store::Store::cannot_be_written(path_).has_value()) return fail(*read_only_);
  auto opened = open_again();
  if (!opened.has_value()) return fail(*read_only_);
  store_ = *std::move(opened);
  read_only_.reset();
  warnings_.clear(WarningKind::kDatabaseReadOnly);
  log_.info("the database can be written again", {{"database", path_}});
  return {};
}

Result<std::unique_ptr<store::Store>> Database::open_again() {
  auto opened = store::Store::open(path_);
  if (!opened.has_value() || (*opened)->revision() == revision_) return opened;
  return fail(
      fmt::format("database {}: it is at revision {}, this server at {}: another program changed "
                  "it meanwhile; restart the server",
                  quote(path_), (*opened)->revision(), revision_));
}

void Database::release() {
  if (store_ != nullptr) write_answers();
  is_released_ = true;
  store_.reset();
}

Result<void> Database::take_back() {
  if (!read_only_.has_value()) {
    auto opened = open_again();
    if (!opened.has_value()) return std::unexpected(opened.error());
    store_ = *std::move(opened);
  }
  is_released_ = false;
  return {};
}

// ---- while it is open

std::expected<store::Revision, store::CommitError> Database::commit(
    const store::ChangeSet& changes, const store::AuditEntry& entry) {
  const auto committed = store_->commit(changes, entry);
  if (committed.has_value()) revision_ = *committed;
  return committed;
}

std::string Database::volume_missed() const {
  return store_ != nullptr ? store_->volume_missed() : std::string();
}

void Database::tick() {
  if (is_released_ || !require_writable().has_value()) return;
  store_->checkpoint();
  watch_files();
  if (Clock::now() >= answers_due_) write_answers();
}

void Database::remember(store::ResolvedChanges changes) {
  for (const std::string& name : changes.removed) answers_[name].reset();
  for (store::ResolvedRecord& answer : changes.put) answers_[answer.name] = std::move(answer);
}

void Database::write_answers() {
  if (answers_.empty()) return;
  store::ResolvedChanges changes;
  for (const auto& [name, answer] : answers_) {
    if (answer.has_value()) {
      changes.put.push_back(*answer);
    } else {
      changes.removed.push_back(name);
    }
  }
  answers_due_ = Clock::now() + kAnswersEvery;
  const auto put = store_->put_resolved(changes);
  if (put.has_value()) {
    answers_.clear();
    answers_error_.clear();
  } else if (answers_error_ != put.error().message) {
    answers_error_ = put.error().message;
    log_.warn("the addresses of names are not kept for the next start, ignoring",
              {{"error", answers_error_}});
  }
}

// Warns before the next change fails: a file that was copied over the database is not in force.
void Database::watch_files() {
  const bool was_raised = warnings_.is_raised(WarningKind::kDatabaseChanged);
  if (store_->is_undisturbed()) {
    if (was_raised) warnings_.clear(WarningKind::kDatabaseChanged);
    return;
  }
  if (was_raised) return;
  const std::string text = fmt::format(
      "database {}: another program replaced the file, or wrote into it; changes are refused, and "
      "the earlier routes and rules stay in force; a restart loads the new file",
      quote(path_));
  log_.error("the database is not the one that this server wrote", {{"error", text}});
  warnings_.raise(WarningKind::kDatabaseChanged, text);
}

// ---- by its path, as another process would: the store may be released

Result<std::vector<store::AuditRecord>> Database::audit_after(store::Revision revision,
                                                              std::size_t most) const {
  return store::Store::audit_after(path_, revision, most);
}

Result<void> Database::snapshot(const std::string& destination) const {
  return store::Store::snapshot_file(path_, destination);
}

}  // namespace mc::control
