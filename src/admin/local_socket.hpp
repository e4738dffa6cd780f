// SPDX-License-Identifier: Apache-2.0
#pragma once
// The admin API's Unix socket: only its owner and root can open it, and the kernel says who did.
// Accepts by itself and hands the connections to gRPC, because gRPC's own Unix listener makes the
// socket with the umask's mode and does not tell who calls.

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

/// `uid=0(root) pid=1234`; without the name where the system knows none. Any thread.
std::string describe(const net::UnixPeer& peer);

/// A listening Unix socket with mode 0600, which goes with its owner. One that root makes belongs
/// to the owner of its directory, like all that a server of root leaves (base/owner.hpp).
class LocalSocket {
 public:
  /// Listens at `path`, in place of a socket that nobody listens on any more. Errors name the path
  /// and say what to do; what is no socket is never removed.
  static Result<std::unique_ptr<LocalSocket>> open(const std::string& path);
  /// Whether open() would succeed, also where the process `but_for` listens there now: one that
  /// would hand it over. Changes nothing.
  static Result<void> rehearse(const std::string& path, pid_t but_for);
  /// The same as open() with a socket of this path that listens already. The file stays another
  /// process's until own().
  static Result<std::unique_ptr<LocalSocket>> adopt(const std::string& path, Fd listener);

  LocalSocket(const LocalSocket&) = delete;
  LocalSocket& operator=(const LocalSocket&) = delete;
  ~LocalSocket();

  /// Starts the thread that accepts and hands the connections to the server, which must be started
  /// and must live until close(). Again only after suspend().
  void serve(grpc::Server& server);

  /// Who makes the call of which grpc::ServerContext::peer() is `grpc_peer`; nothing for calls that
  /// did not come through this socket. To be asked when the call begins. Any thread.
  [[nodiscard]] std::optional<net::UnixPeer> peer(const std::string& grpc_peer) const;

  [[nodiscard]] int fd() const { return listener_.get(); }

  /// Accepts no more; who connects waits in the kernel.
  void suspend() { acceptor_->stop(); }
  /// Whether close() removes the file, or leaves it to another process.
  void own() { owns_file_ = true; }
  void leave() { owns_file_ = false; }

  /// Stops accepting and removes the socket, unless the path is another's by now. Connections that
  /// were accepted are the server's and stay; peer() still knows them. Idempotent; also done by the
  /// destructor.
  void close();

 private:
  struct Connection {
    net::UnixPeer peer;
    std::uint64_t cookie = 0;  // see net::socket_cookie()
  };
  /// Which file a path leads to.
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
  // The acceptor's thread's own.
  int next_fd_ = kLocalFdBegin;
  int numbers_left_ = kLocalFdNumbers;
  mutable std::mutex mutex_;
  /// By descriptor. Under mutex_. One that has ended stays until its number comes again, for calls
  /// that were made before.
  std::map<int, Connection> connections_;
  const std::unique_ptr<Acceptor> acceptor_;
};

}  // namespace mc::admin
