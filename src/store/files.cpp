// SPDX-License-Identifier: Apache-2.0
#include "store/files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <utility>

#include "base/quote.hpp"
#include "store/trouble.hpp"

namespace mc::store {
namespace {

constexpr mode_t kMode = 0600;

std::string directory_of(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == path.npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

/// The path with all symbolic links followed, or an errno.
std::expected<std::string, int> real_path(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> real(::realpath(path.c_str(), nullptr),
                                                         &std::free);
  if (!real) return std::unexpected(errno);
  return std::string(real.get());
}

}  // namespace

Result<std::string> resolve(const std::string& path) {
  if (auto real = real_path(path)) return *std::move(real);
  // No file yet, then; but a link to nowhere would be replaced, and what it is for is unknown.
  struct stat status{};
  if (::lstat(path.c_str(), &status) == 0 && S_ISLNK(status.st_mode)) {
    return fail_with(path, "a symbolic link that leads nowhere", "remove or correct it");
  }
  auto directory = real_path(directory_of(path));
  if (!directory) return fail_with_directory(path, directory_of(path), directory.error());
  if (!directory->ends_with('/')) *directory += '/';
  return *directory + name_of(path);
}

Result<void> require_writable_directory(const std::string& path) {
  const std::string directory = directory_of(path);
  if (::faccessat(AT_FDCWD, directory.c_str(), W_OK | X_OK, AT_EACCESS) == 0) return {};
  return fail_with_directory(path, directory, errno);
}

Result<void> require_writable_file(const std::string& path) {
  if (::faccessat(AT_FDCWD, path.c_str(), R_OK | W_OK, AT_EACCESS) == 0) return {};
  return fail_with_errno(path, errno);
}

std::uint64_t file_bytes(const std::string& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 ? static_cast<std::uint64_t>(status.st_size) : 0;
}

bool is_same_file(const std::string& a, const std::string& b) {
  if (a == b) return true;
  struct stat status_a{}, status_b{};
  return ::stat(a.c_str(), &status_a) == 0 && ::stat(b.c_str(), &status_b) == 0 &&
         status_a.st_dev == status_b.st_dev && status_a.st_ino == status_b.st_ino;
}

Result<void> sync_directory_of(const std::string& path) {
  const std::string directory = directory_of(path);
  const Fd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // Some file systems know no fsync of directories (EINVAL); they have nothing to write then.
  if (!fd || (::fsync(fd.get()) != 0 && errno != EINVAL)) {
    return fail_with_directory(path, directory, errno);
  }
  return {};
}

NewFile::NewFile(std::string path, std::string temporary_path, Fd file)
    : path_(std::move(path)), temporary_path_(std::move(temporary_path)), file_(std::move(file)) {}

NewFile::~NewFile() {
  if (!file_) return;
  ::unlink((temporary_path_ + "-journal").c_str());
  ::unlink(temporary_path_.c_str());
}

Result<NewFile> NewFile::create_for(const std::string& path) {
  // The slash keeps SQLite from reading a name like "file:x" as a URI.
  std::string name = fmt::format("{}/.{}.XXXXXX", directory_of(path), name_of(path));
  Fd file(::mkostemp(name.data(), O_CLOEXEC));
  if (!file) return fail_with_directory(path, directory_of(path), errno);
  NewFile created(path, std::move(name), std::move(file));
  // mkostemp asks for 0600, of which an odd umask may take away.
  if (::fchmod(created.file_.get(), kMode) != 0) return fail_with_errno(path, errno);
  return created;
}

void NewFile::give_to(Owner owner) {
  [[maybe_unused]] const auto ignored = ::fchown(file_.get(), owner.user, owner.group);
}

Result<void> NewFile::publish() {
  if (::fsync(file_.get()) != 0) return fail_with_errno(temporary_path_, errno);
  if (::rename(temporary_path_.c_str(), path_.c_str()) != 0) return fail_with_errno(path_, errno);
  file_.reset();
  return sync_directory_of(path_);
}

}  // namespace mc::store
