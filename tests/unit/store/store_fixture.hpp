// SPDX-License-Identifier: Apache-2.0
#pragma once
// The base of the store's tests: real files in a directory of their own, and real processes that
// can be killed. A child process never returns into the test: it reports through a pipe.

#include <fcntl.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.hpp"
#include "store/sqlite.hpp"
#include "store/store.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"

namespace mc::store::test {

// ---- files

using mc::test::copy_over;
using mc::test::mode_of;
using mc::test::read_file;
using mc::test::write_file;

class TempDir : public mc::test::TempDir {
 public:
  [[nodiscard]] std::string database() const { return file("mc-proxy.db"); }
};

// ---- databases

/// The first value that `sql` returns.
std::string query(const std::string& path, std::string_view sql);
void execute(const std::string& path, const std::string& sql);

std::unique_ptr<Store> open_store(const std::string& path);
/// Why the database cannot be opened; "" if it can.
std::string open_error(const std::string& path);
Contents load(Store& store);
void commit(Store& store, const ChangeSet& changes);
AuditEntry by(std::string who);

/// The change that makes revision `r`; its content follows from the number alone.
ChangeSet change_to(Revision r);
/// A database's content after the changes 1 to `revision`, in the form of to_text().
std::string expected_contents(Revision revision);
std::string to_text(const Contents& contents);

/// Keeps the write-ahead log from being emptied, as a long backup would.
class PinnedReader {
 public:
  explicit PinnedReader(const std::string& path);

 private:
  Connection connection_;
};

// ---- processes

/// A child process, killed with SIGKILL at the latest by the destructor.
class Child {
 public:
  /// Runs `body(from_parent, to_parent)` in the child, which then exits.
  template <class Body>
  explicit Child(Body body) {
    const Pipe down, up;
    start(down, up);
    if (pid_ == 0) {
      body(down.read_end.get(), up.write_end.get());
      ::_exit(0);
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() { kill(); }

  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] int to_child() const { return to_child_.get(); }
  [[nodiscard]] int from_child() const { return from_child_.get(); }

  /// Returns when the process is gone, and with it its locks.
  void kill();

 private:
  struct Pipe {
    Pipe();
    Fd read_end, write_end;
  };

  void start(const Pipe& down, const Pipe& up);

  pid_t pid_ = -1;
  Fd to_child_, from_child_;
};

/// One number through a pipe. A writer whose reader is gone ends; a reader whose writer is gone
/// gets nothing.
void send(int fd, std::uint64_t number);
std::optional<std::uint64_t> receive(int fd);
std::string receive_text(int fd);
void send_text(int fd, std::string_view text);

/// The text that `work` returns in a child process, where it may change what cannot be changed
/// back.
template <class Work>
std::string answer_of_child(Work work) {
  const Child child([&](int, int to_parent) { send_text(to_parent, work()); });
  return receive_text(child.from_child());
}

/// A server as far as the store is concerned: commits change_to() the next revision as often as it
/// is ordered to, and moves the log after each.
class ServerProcess {
 public:
  explicit ServerProcess(const std::string& path);

  Revision commit(std::uint64_t count);
  [[nodiscard]] pid_t pid() const { return child_.pid(); }
  void kill() { child_.kill(); }

 private:
  static void serve(const std::string& path, int from_parent, int to_parent);

  Child child_;
  Revision revision_ = 0;
};

/// In a child: gives up root, so that permissions apply. No effect for other users.
void give_up_root();

/// In a child: mounts a file system of `size` ("1m") on `directory`, where only the child sees it.
/// False where the machine does not allow that.
bool mount_small_disk(const std::string& directory, const std::string& size);
/// In a child: makes that file system read-only.
bool make_read_only(const std::string& directory);
/// In a child: writes a file until there is no room for another byte.
void fill_disk(const std::string& path);

}  // namespace mc::store::test
