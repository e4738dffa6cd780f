// SPDX-License-Identifier: Apache-2.0
#include "lifecycle/handover_wire.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "lifecycle/limits.hpp"

namespace mc::lifecycle {
namespace {

// A path of any length, as sun_path with its 108 bytes cannot hold it: through a descriptor of its
// directory.
struct ShortPath {
  explicit ShortPath(const std::filesystem::path& path)
      : directory(::open(path.has_parent_path() ? path.parent_path().c_str() : ".",
                         O_PATH | O_DIRECTORY | O_CLOEXEC)) {
    const std::string text =
        fmt::format("/proc/self/fd/{}/{}", directory.get(), path.filename().string());
    fits = directory && text.size() < sizeof address.sun_path;
    if (fits) text.copy(address.sun_path, text.size());
    if (directory && !fits) errno = ENAMETOOLONG;
  }
  [[nodiscard]] const sockaddr* data() const { return reinterpret_cast<const sockaddr*>(&address); }

  Fd directory;
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  bool fits = false;
};

// connect(2) too waits no longer than that, where nobody takes those who wait.
Fd new_socket(int type) {
  Fd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  const timeval patience{.tv_sec = kConnectMax.count(), .tv_usec = 0};
  if (fd)
    static_cast<void>(::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience));
  return fd;
}

using Control = std::array<char, CMSG_SPACE(kDescriptorsPerMessage * sizeof(int))>;

std::vector<Fd> descriptors_of(msghdr& header) {
  std::vector<Fd> descriptors;
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof fd);
      descriptors.emplace_back(fd);
    }
  }
  return descriptors;
}

}  // namespace

std::string beside_database(const std::string& database_path, std::string_view suffix) {
  std::error_code unknown;  // then the path as it is must do
  const auto path = std::filesystem::weakly_canonical(database_path, unknown);
  return (unknown ? database_path : path.string()) + std::string(suffix);
}

std::string handover_path(const std::string& database_path) {
  return beside_database(database_path, ".handover");
}

bool send_message(int socket, std::string_view text, const std::vector<int>& descriptors) {
  std::string copy(text.substr(0, kMessageBytesMax));
  iovec bytes{.iov_base = copy.data(), .iov_len = copy.size()};
  alignas(cmsghdr) Control control{};
  msghdr header{};
  header.msg_iov = &bytes;
  header.msg_iovlen = 1;
  if (!descriptors.empty()) {
    const std::size_t size = descriptors.size() * sizeof(int);
    header.msg_control = control.data();
    header.msg_controllen = CMSG_SPACE(size);
    cmsghdr* const part = CMSG_FIRSTHDR(&header);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(size);
    std::memcpy(CMSG_DATA(part), descriptors.data(), size);
  }
  return ::sendmsg(socket, &header, MSG_NOSIGNAL) == static_cast<ssize_t>(copy.size());
}

std::optional<Message> receive_message(int socket) {
  std::array<char, kMessageBytesMax> text{};
  iovec bytes{.iov_base = text.data(), .iov_len = text.size()};
  alignas(cmsghdr) Control control{};
  msghdr header{};
  header.msg_iov = &bytes;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  ssize_t size = 0;
  do {
    size = ::recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
  } while (size < 0 && errno == EINTR);
  if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return std::nullopt;
  Message message;
  if (size > 0) message.text.assign(text.data(), static_cast<std::size_t>(size));
  if (size >= 0) message.descriptors = descriptors_of(header);
  if ((header.msg_flags & MSG_CTRUNC) != 0)
    message = {};  // no room for all descriptors: none serve
  return message;
}

Fd connect_at(const std::string& path, int type) {
  const ShortPath place(path);
  Fd fd = place.fits ? new_socket(type) : Fd();
  if (fd && ::connect(fd.get(), place.data(), sizeof place.address) == 0) return fd;
  const int error = errno;
  fd.reset();
  errno = error;
  return {};
}

Fd listen_at(const std::string& path, int type) {
  struct stat found{};
  if (::lstat(path.c_str(), &found) == 0 && S_ISSOCK(found.st_mode)) ::unlink(path.c_str());
  const ShortPath place(path);
  Fd fd = place.fits ? new_socket(type) : Fd();
  // The mode of the file that bind(2) makes is that of the socket.
  if (fd && ::fchmod(fd.get(), 0600) == 0 &&
      ::bind(fd.get(), place.data(), sizeof place.address) == 0 &&
      ::listen(fd.get(), kHandoverBacklog) == 0) {
    return fd;
  }
  const int error = errno;
  fd.reset();
  errno = error;
  return {};
}

}  // namespace mc::lifecycle
