// SPDX-License-Identifier: Apache-2.0
#include "net/unix_socket.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>

#include <cerrno>
#include <filesystem>

namespace mc::net {
namespace {

// The socket address for a path. A long path goes through /proc/self/fd, so this keeps the
// directory open while the address is in use.
class Address {
 public:
  explicit Address(const std::string& path) {
    if (path.size() <= kUnixPathMax) {
      fits_ = write(path);
    } else {
      const std::filesystem::path whole(path);
      directory_ = Fd(::open(whole.parent_path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
      fits_ = directory_ && write(fmt::format("/proc/self/fd/{}/{}", directory_.get(),
                                              whole.filename().string()));
    }
  }
  /// False, with errno, if there is no address for the path.
  [[nodiscard]] bool fits() const { return fits_; }
  [[nodiscard]] const sockaddr* data() const {
    return reinterpret_cast<const sockaddr*>(&address_);
  }
  static constexpr socklen_t kSize = sizeof(sockaddr_un);

 private:
  bool write(const std::string& text) {
    if (text.empty() || text.size() > kUnixPathMax) {
      errno = text.empty() ? ENOENT : ENAMETOOLONG;
      return false;
    }
    text.copy(address_.sun_path, text.size());
    return true;
  }

  Fd directory_;
  sockaddr_un address_{.sun_family = AF_UNIX, .sun_path = {}};
  bool fits_ = false;
};

}  // namespace

Fd new_unix_socket(int type, std::chrono::milliseconds connect_wait) {
  Fd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  const timeval limit{
      .tv_sec = std::chrono::duration_cast<std::chrono::seconds>(connect_wait).count(),
      .tv_usec = 0};
  if (fd && limit.tv_sec > 0) {
    static_cast<void>(::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit));
  }
  return fd;
}

bool connect_unix(int fd, const std::string& path) {
  const Address address(path);
  return address.fits() && ::connect(fd, address.data(), Address::kSize) == 0;
}

// bind(2) gives the file the socket's mode, so there is no moment in which others could connect.
bool bind_unix(int fd, const std::string& path) {
  const Address address(path);
  return address.fits() && ::fchmod(fd, 0600) == 0 &&
         ::bind(fd, address.data(), Address::kSize) == 0;
}

std::optional<UnixPeer> peer_of(int fd) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return std::nullopt;
  return UnixPeer{.uid = credentials.uid, .pid = credentials.pid};
}

std::uint64_t socket_cookie(int fd) {
  std::uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  return ::getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) == 0 ? cookie : 0;
}

}  // namespace mc::net
