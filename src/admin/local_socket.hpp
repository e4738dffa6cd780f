// SPDX-License-Identifier: Apache-2.0
#pragma once
// The admin API's Unix socket: only its owner and root can connect, and the kernel reports who did.
// Accepts by itself and hands the connections to gRPC, because gRPC's own Unix listener creates the
// socket with the umask's mode and does not report the caller.

#include <grpcpp/server.h>
#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "admin/acceptor.hpp"
#include "admin/limits.hpp"
#include "base/fd.hpp"
#include "base/result.hpp"
#include "net/unix_socket.hpp"

namespace mc::admin {

/// `uid=0(root) pid=1234`; without the name if the system has none. Any thread.
std::string describe(const net::UnixPeer& peer);

/// A listening Unix socket with mode 0600. If root creates it, it belongs to the owner of its
/// directory, like all files of a server run by root (base/owner.hpp).
class LocalSocket {
 public:
  /// Listens at `path`; replaces a socket without a listener, and never removes another kind of
  /// file. Errors name the path and the remedy.
  static Result<std::unique_ptr<LocalSocket>> open(const std::string& path);
  /// Whether open() would succeed. The process `but_for` may listen there now: it would hand the
  /// socket over. Changes nothing.
  static Result<void> rehearse(const std::string& path, pid_t but_for);
  /// The same as open(), with a socket that already listens at this path. The file belongs to
  /// another process until own().
  static Result<std::unique_ptr<LocalSocket>> adopt(const std::string& path, Fd listener);

  LocalSocket(const LocalSocket&) = delete;
  LocalSocket& operator=(const LocalSocket&) = delete;
  ~LocalSocket();

  /// Starts the thread that accepts and hands the connections to the server, which must be started
  /// and must live until close(). Call it again only after suspend().
  void serve(grpc::Server& server);

  /// The caller, for the grpc::ServerContext::peer() of a call; nothing if the call did not come
  /// through this socket. Must be read when the call begins. Any thread.
  [[nodiscard]] std::optional<net::UnixPeer> peer(const std::string& grpc_peer) const;

  [[nodiscard]] int fd() const { return listener_.get(); }

  /// Stops accepting; new clients wait in the kernel.
  void suspend() { acceptor_->stop(); }
  /// Whether close() removes the file, or leaves it to another process.
  void own() { owns_file_ = true; }
  void leave() { owns_file_ = false; }

  /// Stops accepting and removes the socket, unless another process now has the path. Accepted
  /// connections belong to the server and stay; peer() still knows them. Idempotent; the destructor
  /// does it too.
  void close();

 private:
  struct Connection {
    net::UnixPeer peer;
    std::uint64_t cookie = 0;  // see net::socket_cookie()
  };
  /// Identifies the file at a path.
  struct FileId {
    dev_t device = 0;
    ino_t inode = 0;
    bool operator==(const FileId&) const = default;
  };

  LocalSocket(std::string path, FileId file, Fd listener, std::unique_ptr<Acceptor> acceptor);

  int hand_over(Fd connection, grpc::Server& server);
  Fd renumber(Fd connection);

  const std::string path_;
  const FileId file_;
  Fd listener_;
  bool owns_file_ = true;
  // Only the acceptor's thread uses these.
  int next_fd_ = kLocalFdBegin;
  int numbers_left_ = kLocalFdNumbers;
  mutable std::mutex mutex_;
  /// By descriptor; guarded by mutex_. An ended connection stays here until its number is used
  /// again, for the calls that it made.
  std::map<int, Connection> connections_;
  const std::unique_ptr<Acceptor> acceptor_;
};

}  // namespace mc::admin
