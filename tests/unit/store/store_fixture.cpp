// SPDX-License-Identifier: Apache-2.0
#include "unit/store/store_fixture.hpp"

#include <fmt/format.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <utility>

namespace mc::store::test {
namespace {

/// The value, or the end of the test with the reason.
template <class T>
T value_of(SqliteResult<T> result) {
  if (!result) FAIL(result.error().text);
  return *std::move(result);
}
template <class T>
T value_of(Result<T> result) {
  if (!result) FAIL(result.error().message);
  return *std::move(result);
}

}  // namespace

std::string query(const std::string& path, std::string_view sql) {
  auto connection = value_of(Connection::open(path, Access::kReadOnly));
  return value_of(connection.query_text(sql));
}

void execute(const std::string& path, const std::string& sql) {
  auto connection = value_of(Connection::open(path, Access::kReadWrite));
  const auto done = connection.execute(sql);
  INFO((done ? std::string() : done.error().text));
  REQUIRE(done.has_value());
}

std::unique_ptr<Store> open_store(const std::string& path) { return value_of(Store::open(path)); }

std::string open_error(const std::string& path) {
  const auto store = Store::open(path);
  return store ? "" : store.error().message;
}

Contents load(Store& store) { return value_of(store.load()); }

void commit(Store& store, const ChangeSet& changes) {
  const Revision before = store.revision();
  const auto committed = store.commit(changes, by("test"));
  INFO((committed ? "" : committed.error().message));
  REQUIRE(committed.has_value());
  REQUIRE(*committed == before + 1);
}

AuditEntry by(std::string who) {
  return {.time = std::chrono::sys_time<std::chrono::milliseconds>(
              std::chrono::milliseconds(1'700'000'000'123)),
          .who = std::move(who),
          .action = "action",
          .detail = "detail"};
}

ChangeSet change_to(Revision r) {
  const auto host = [](Revision i) { return fmt::format("h{}.example.com", i % 50); };
  ChangeSet changes;
  changes.removed_routes = {{":443", host(r + 7)}};
  for (Revision i = 0; i < 1 + r % 5; ++i) {
    changes.put_routes.push_back({":443", {host(r + i * 11), fmt::format("127.0.0.1:{}", r)}});
  }
  if (r > 20) changes.removed_rules = {{"ip", fmt::format("{}", r - 20)}};
  changes.put_rules = {{"ip", fmt::format("{}", r)}};
  return changes;
}

std::string to_text(const Contents& contents) {
  std::string text = fmt::format("revision {}\n", contents.revision);
  for (const auto& [listener, route] : contents.routes) {
    text += fmt::format("{} {} {}\n", listener, route.hostname, route.backend);
  }
  for (const auto& [type, value] : contents.rules) text += fmt::format("{} {}\n", type, value);
  return text;
}

std::string expected_contents(Revision revision) {
  std::map<std::pair<std::string, std::string>, std::string> routes;
  std::set<std::pair<std::string, std::string>> rules;
  for (Revision r = 1; r <= revision; ++r) {
    const ChangeSet changes = change_to(r);
    for (const auto& key : changes.removed_routes) routes.erase({key.listener, key.hostname});
    for (const auto& [listener, route] : changes.put_routes) {
      routes[{listener, route.hostname}] = route.backend;
    }
    for (const auto& rule : changes.removed_rules) rules.erase({rule.type, rule.value});
    for (const auto& rule : changes.put_rules) rules.insert({rule.type, rule.value});
  }
  Contents contents;
  contents.revision = revision;
  for (const auto& [key, backend] : routes) {
    contents.routes.push_back({key.first, {key.second, backend}});
  }
  for (const auto& [type, value] : rules) contents.rules.push_back({type, value});
  return to_text(contents);
}

PinnedReader::PinnedReader(const std::string& path)
    : connection_(value_of(Connection::open(path, Access::kReadOnly))) {
  REQUIRE(connection_.execute("BEGIN; SELECT * FROM state;").has_value());
}

Child::Pipe::Pipe() {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  read_end = Fd(ends[0]);
  write_end = Fd(ends[1]);
}

void Child::start(const Pipe& down, const Pipe& up) {
  pid_ = ::fork();
  REQUIRE(pid_ >= 0);
  if (pid_ == 0) {
    // The other ends close here, so that each side sees the end of the other.
    ::close(down.write_end.get());
    ::close(up.read_end.get());
    return;
  }
  to_child_ = Fd(::fcntl(down.write_end.get(), F_DUPFD_CLOEXEC, 0));
  from_child_ = Fd(::fcntl(up.read_end.get(), F_DUPFD_CLOEXEC, 0));
}

void Child::kill() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(std::exchange(pid_, -1), nullptr, 0);
}

void send(int fd, std::uint64_t number) {
  if (::write(fd, &number, sizeof(number)) != sizeof(number)) ::_exit(1);
}

std::optional<std::uint64_t> receive(int fd) {
  std::uint64_t number = 0;
  if (::read(fd, &number, sizeof(number)) != sizeof(number)) return std::nullopt;
  return number;
}

void send_text(int fd, std::string_view text) {
  if (::write(fd, text.data(), text.size()) < 0) ::_exit(1);
}

std::string receive_text(int fd) {
  std::string text;
  char part[1024];
  for (ssize_t size = 0; (size = ::read(fd, part, sizeof(part))) > 0;) {
    text.append(part, static_cast<std::size_t>(size));
  }
  return text;
}

ServerProcess::ServerProcess(const std::string& path)
    : child_([&](int from_parent, int to_parent) { serve(path, from_parent, to_parent); }) {
  const auto revision = receive(child_.from_child());
  REQUIRE(revision.has_value());
  revision_ = *revision;
}

void ServerProcess::serve(const std::string& path, int from_parent, int to_parent) {
  const auto store = Store::open(path);
  if (!store) ::_exit(1);
  send(to_parent, (*store)->revision());
  while (const auto count = receive(from_parent)) {
    for (std::uint64_t i = 0; i < *count; ++i) {
      if (!(*store)->commit(change_to((*store)->revision() + 1), by("server"))) ::_exit(1);
      (*store)->checkpoint();
    }
    send(to_parent, (*store)->revision());
  }
}

Revision ServerProcess::commit(std::uint64_t count) {
  send(child_.to_child(), count);
  const auto revision = receive(child_.from_child());
  REQUIRE(revision == revision_ + count);
  revision_ += count;
  return revision_;
}

void give_up_root() {
  if (::geteuid() == 0 && ::setresuid(65534, 65534, 65534) != 0) ::_exit(1);
}

bool mount_small_disk(const std::string& directory, const std::string& size) {
  const uid_t uid = ::geteuid();
  const gid_t gid = ::getegid();
  if (::unshare(CLONE_NEWNS | (uid == 0 ? 0 : CLONE_NEWUSER)) != 0) return false;
  if (uid != 0) {  // only users in the namespace can make files
    std::ofstream("/proc/self/setgroups") << "deny";
    std::ofstream("/proc/self/uid_map") << fmt::format("0 {} 1", uid);
    std::ofstream("/proc/self/gid_map") << fmt::format("0 {} 1", gid);
  }
  return ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         ::mount("tmpfs", directory.c_str(), "tmpfs", 0, ("size=" + size).c_str()) == 0;
}

void fill_disk(const std::string& path) {
  const Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  for (const std::size_t size : {4096UL, 1UL}) {
    const std::string part(size, 'x');
    while (::write(file.get(), part.data(), size) > 0) continue;
  }
}

bool make_read_only(const std::string& directory) {
  return ::mount("none", directory.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr) == 0;
}

}  // namespace mc::store::test
