// SPDX-License-Identifier: Apache-2.0
#include "lifecycle/handover_wire.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "lifecycle/limits.hpp"
#include "net/unix_socket.hpp"

namespace mc::lifecycle {
namespace {

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
  std::error_code unknown;  // then the path is used as it is
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
    message = {};  // not all descriptors fitted: none serves
  return message;
}

Fd connect_at(const std::string& path, int type) {
  Fd fd = net::new_unix_socket(type, kConnectMax);
  if (fd && net::connect_unix(fd.get(), path)) return fd;
  const int error = errno;
  fd.reset();
  errno = error;
  return {};
}

Fd listen_at(const std::string& path, int type) {
  struct stat found{};
  if (::lstat(path.c_str(), &found) == 0 && S_ISSOCK(found.st_mode)) ::unlink(path.c_str());
  Fd fd = net::new_unix_socket(type, kConnectMax);
  if (fd && net::bind_unix(fd.get(), path) && ::listen(fd.get(), kHandoverBacklog) == 0) return fd;
  const int error = errno;
  fd.reset();
  errno = error;
  return {};
}

}  // namespace mc::lifecycle
