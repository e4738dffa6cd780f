// SPDX-License-Identifier: Apache-2.0
#include "store/files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <mntent.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "base/quote.hpp"
#include "store/limits.hpp"
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
  // There is no file yet. A link to nowhere is an error: it would be replaced, and its purpose is
  // unknown.
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

namespace {

// The mount points in a table of file systems (getmntent(3)).
std::vector<std::string> mount_points(const char* table) {
  std::vector<std::string> points;
  const std::unique_ptr<std::FILE, decltype([](std::FILE* file) { ::endmntent(file); })> file(
      ::setmntent(table, "re"));
  if (file == nullptr) return points;
  mntent entry{};
  std::array<char, 4096> buffer{};
  while (::getmntent_r(file.get(), &entry, buffer.data(), static_cast<int>(buffer.size())) !=
         nullptr) {
    points.emplace_back(entry.mnt_dir);
  }
  return points;
}

}  // namespace

std::optional<Error> lack_of_room(const std::string& path) {
  const std::string directory = directory_of(path);
  struct statvfs system{};
  if (::statvfs(directory.c_str(), &system) == 0 && (system.f_flag & ST_RDONLY) != 0) {
    return fail_with_errno(path, EROFS).error();
  }
  // A file without a name removes itself. Where the file system has none, nothing is checked.
  const Fd file(::open(directory.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600));
  const int error = file ? ::posix_fallocate(file.get(), 0, kRoomNeeded) : errno;
  if (error == ENOSPC || error == EDQUOT || error == EROFS) {
    return fail_with_errno(path, error).error();
  }
  return std::nullopt;
}

std::string missing_volume(const std::string& path) {
  const std::filesystem::path directory = directory_of(path);
  const std::vector<std::string> mounted = mount_points("/proc/self/mounts");
  for (const std::string& place : mount_points("/etc/fstab")) {
    const auto [rest, _] = std::ranges::mismatch(std::filesystem::path(place), directory);
    const bool is_above = rest == std::filesystem::path(place).end() && place != "/";
    if (is_above && std::ranges::find(mounted, place) == mounted.end()) return place;
  }
  const std::string own = std::filesystem::path(path).filename();
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    if (!entry.path().filename().native().starts_with(own)) return {};
  }
  return error ? std::string() : directory.string();
}

FileStamp stamp_of(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return {};
  const auto nanoseconds = [](const timespec& time) {
    return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
  };
  return {.device = status.st_dev,
          .inode = status.st_ino,
          .size = status.st_size,
          .modified_ns = nanoseconds(status.st_mtim),
          .changed_ns = nanoseconds(status.st_ctim)};
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
  // Some file systems have no fsync of directories (EINVAL); they have nothing to write then.
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
  // mkostemp makes it with 0600, from which an odd umask may remove bits.
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
