// SPDX-License-Identifier: Apache-2.0
#include "admin/local_socket.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <grpcpp/server_posix.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <string_view>
#include <utility>

#include "admin/limits.hpp"
#include "base/owner.hpp"
#include "base/quote.hpp"

namespace mc::admin {
namespace {

constexpr mode_t kMode = 0600;
constexpr std::string_view kFdPrefix =
    "fd:";  // grpc::ServerContext::peer() of injected connections

std::unexpected<Error> fail_with(const std::string& path, std::string_view problem,
                                 std::string_view remedy) {
  return fail(fmt::format("admin socket {}: {}; {}", quote(path), problem, remedy));
}

std::string directory_of(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == path.npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::unexpected<Error> fail_with_errno(const std::string& path, int error) {
  const std::string directory = directory_of(path);
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return fail_with(path, fmt::format("there is no directory {}", quote(directory)),
                       fmt::format("create it: install -d -o mc-proxy -g mc-proxy {} (systemd: "
                                   "RuntimeDirectory=), or correct grpc.socket",
                                   directory));
    case EACCES:
    case EPERM:
      return fail_with(
          path,
          fmt::format("uid {} has no permission to create it in {}", ::geteuid(), quote(directory)),
          fmt::format("give that user the directory (chown), or correct grpc.socket"));
    case EROFS:
      return fail_with(path, "the file system is read-only",
                       "correct grpc.socket (systemd: RuntimeDirectory= or ReadWritePaths=)");
    default:
      return fail_with(path, std::strerror(error), "correct grpc.socket, or remove the cause");
  }
}

std::unexpected<Error> fail_used(const std::string& path,
                                 const std::optional<net::UnixPeer>& user) {
  return fail_with(path,
                   fmt::format("another server uses it{}",
                               user ? fmt::format(" (pid {})", user->pid) : std::string()),
                   "stop that one first, or give this one another grpc.socket");
}

// The length is limited because other programs connect to the socket too.
bool has_fit_length(const std::string& path) {
  return !path.empty() && path.size() <= net::kUnixPathMax;
}

std::unexpected<Error> fail_length(const std::string& path) {
  return fail_with(path,
                   fmt::format("a socket's path has 1 to {} bytes, this one has {}",
                               net::kUnixPathMax, path.size()),
                   "correct grpc.socket");
}

/// The socket that is already at the path of a new one.
struct Occupant {
  bool listens = false;
  std::optional<net::UnixPeer> peer;  // if it listens and the kernel names it
  dev_t device = 0;
  ino_t inode = 0;
};

/// Nothing: the path is free. An error: the file there is not ours.
Result<std::optional<Occupant>> find_occupant(const std::string& path) {
  struct stat found{};
  if (::lstat(path.c_str(), &found) != 0) {
    if (errno == ENOENT) return std::nullopt;
    return fail_with_errno(path, errno);
  }
  if (!S_ISSOCK(found.st_mode)) {
    return fail_with(path, "the file there is not a socket",
                     "correct grpc.socket, or remove the file");
  }
  const Fd probe = net::new_unix_socket(SOCK_STREAM | SOCK_NONBLOCK);
  if (!probe) return fail_with_errno(path, errno);
  const bool is_connected = net::connect_unix(probe.get(), path);
  const int error = is_connected ? 0 : errno;
  if (error == ENOENT) return std::nullopt;
  Occupant occupant{.listens = is_connected || error == EAGAIN,  // EAGAIN: its queue is full
                    .peer = is_connected ? net::peer_of(probe.get()) : std::nullopt,
                    .device = found.st_dev,
                    .inode = found.st_ino};
  if (occupant.listens || error == ECONNREFUSED) return occupant;
  return fail_with(path, fmt::format("there is a socket ({})", std::strerror(error)),
                   "correct grpc.socket, or remove it if it is not needed");
}

/// Makes the path free for bind(2): removes a socket without a listener.
Result<void> clear_path(const std::string& path) {
  const auto occupant = find_occupant(path);
  if (!occupant.has_value()) return std::unexpected(occupant.error());
  if (!occupant->has_value()) return {};
  if ((*occupant)->listens) return fail_used(path, (*occupant)->peer);
  // Another server that starts at the same time may have created its own socket there.
  struct stat now{};
  if (::lstat(path.c_str(), &now) != 0 || now.st_ino != (*occupant)->inode ||
      now.st_dev != (*occupant)->device) {
    return fail_with(path, "another server takes it at this moment", "stop one of the two");
  }
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return fail_with_errno(path, errno);
  return {};
}

}  // namespace

std::string describe(const net::UnixPeer& peer) {
  const std::string name = user_name(peer.uid);
  return fmt::format("uid={}{} pid={}", peer.uid, name.empty() ? "" : "(" + name + ")", peer.pid);
}

LocalSocket::LocalSocket(std::string path, FileId file, Fd listener,
                         std::unique_ptr<Acceptor> acceptor)
    : path_(std::move(path)),
      file_(file),
      listener_(std::move(listener)),
      acceptor_(std::move(acceptor)) {}

LocalSocket::~LocalSocket() { close(); }

Result<std::unique_ptr<LocalSocket>> LocalSocket::open(const std::string& path) {
  if (!has_fit_length(path)) return fail_length(path);
  auto acceptor = Acceptor::make(kLocalConnectionsMax);
  Fd listener = net::new_unix_socket(SOCK_STREAM | SOCK_NONBLOCK);
  if (acceptor == nullptr || !listener) return fail_with_errno(path, errno);
  if (const auto cleared = clear_path(path); !cleared) {
    return std::unexpected(cleared.error());
  }
  if (!net::bind_unix(listener.get(), path)) {
    if (errno == EADDRINUSE) {
      return fail_with(path, "another server has just taken it", "stop one of the two");
    }
    return fail_with_errno(path, errno);
  }
  struct stat made{};
  const bool is_made = ::lstat(path.c_str(), &made) == 0;
  if (!is_made || (made.st_mode & 07777) != kMode) {
    const mode_t mode = made.st_mode & 07777;
    ::unlink(path.c_str());
    return fail_with(path, fmt::format("it was created with mode {:04o}, not 0600", mode),
                     "start the server with umask 077");
  }
  if (const auto owner = owner_beside(directory_of(path))) give_socket(path, *owner);
  // From here on the destructor removes the file.
  std::unique_ptr<LocalSocket> socket(new LocalSocket(path,
                                                      {.device = made.st_dev, .inode = made.st_ino},
                                                      std::move(listener), std::move(acceptor)));
  if (::listen(socket->listener_.get(), kBacklog) != 0) return fail_with_errno(path, errno);
  return socket;
}

Result<void> LocalSocket::rehearse(const std::string& path, pid_t but_for) {
  if (!has_fit_length(path)) return fail_length(path);
  const auto occupant = find_occupant(path);
  if (!occupant.has_value()) return std::unexpected(occupant.error());
  if (occupant->has_value() && (*occupant)->listens) {
    const auto& peer = (*occupant)->peer;
    if (peer.has_value() && peer->pid == but_for) return {};
    return fail_used(path, peer);
  }
  const std::string directory = directory_of(path);
  if (::faccessat(AT_FDCWD, directory.c_str(), W_OK | X_OK, AT_EACCESS) == 0) return {};
  return fail_with_errno(path, errno);
}

Result<std::unique_ptr<LocalSocket>> LocalSocket::adopt(const std::string& path, Fd listener) {
  auto acceptor = Acceptor::make(kLocalConnectionsMax);
  struct stat found{};
  if (acceptor == nullptr) return fail_with_errno(path, errno);
  // The file was removed, so no client can connect to that socket any more.
  if (::lstat(path.c_str(), &found) != 0 || !S_ISSOCK(found.st_mode)) return open(path);
  std::unique_ptr<LocalSocket> socket(
      new LocalSocket(path, {.device = found.st_dev, .inode = found.st_ino}, std::move(listener),
                      std::move(acceptor)));
  socket->leave();
  return socket;
}

void LocalSocket::serve(grpc::Server& server) {
  acceptor_->start(listener_, [this, &server](Fd connection) {
    return hand_over(std::move(connection), server);
  });
}

void LocalSocket::close() {
  acceptor_->stop();
  if (!listener_) return;
  // The listener is still open, so no other file can have its inode number.
  struct stat found{};
  if (owns_file_ && ::lstat(path_.c_str(), &found) == 0 &&
      FileId{.device = found.st_dev, .inode = found.st_ino} == file_) {
    ::unlink(path_.c_str());
  }
  listener_.reset();
}

/// See Acceptor::Handler.
int LocalSocket::hand_over(Fd connection, grpc::Server& server) {
  const auto peer = net::peer_of(connection.get());
  if (!peer) return -1;
  connection = renumber(std::move(connection));
  const int fd = connection.get();
  {
    const std::lock_guard lock(mutex_);
    connections_[fd] = {.peer = *peer, .cookie = net::socket_cookie(fd)};
  }
  grpc::AddInsecureChannelFromFd(&server, connection.release());
  return fd;
}

/// gRPC names a connection only by its descriptor, and the kernel reuses the lowest free one at
/// once: a call whose connection ends before peer() is called would be attributed to the next
/// client. So numbers increase for a while before they start again.
Fd LocalSocket::renumber(Fd connection) {
  if (numbers_left_ == 0) {
    numbers_left_ = kLocalFdNumbers;
    next_fd_ = kLocalFdBegin;
    const std::lock_guard lock(mutex_);
    std::erase_if(connections_, [](const auto& entry) {
      return net::socket_cookie(entry.first) != entry.second.cookie;
    });
  }
  --numbers_left_;
  Fd renumbered(::fcntl(connection.get(), F_DUPFD_CLOEXEC, next_fd_));
  if (!renumbered) return connection;  // number above the limit, or no free descriptor
  next_fd_ = renumbered.get() + 1;
  return renumbered;
}

std::optional<net::UnixPeer> LocalSocket::peer(const std::string& grpc_peer) const {
  if (!grpc_peer.starts_with(kFdPrefix)) return std::nullopt;
  const char* const begin = grpc_peer.data() + kFdPrefix.size();
  const char* const end = grpc_peer.data() + grpc_peer.size();
  int fd = -1;
  const auto [parsed, error] = std::from_chars(begin, end, fd);
  if (error != std::errc() || parsed != end) return std::nullopt;
  const std::lock_guard lock(mutex_);
  const auto found = connections_.find(fd);
  if (found == connections_.end()) return std::nullopt;
  return found->second.peer;
}

}  // namespace mc::admin
