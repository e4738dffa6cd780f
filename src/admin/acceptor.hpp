// SPDX-License-Identifier: Apache-2.0
#pragma once
// Accepts the connections of one listening socket on a thread of its own, up to a limit: gRPC's own
// listeners have none, and stop for good when descriptors run out. Independent of the kind of
// socket and of the use of the connections.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "base/fd.hpp"

namespace mc::admin {

class Acceptor {
 public:
  /// Takes ownership of a non-blocking connection, on the acceptor's thread. Returns the
  /// connection's descriptor from now on (it may be a duplicate), or -1 if it was closed.
  using Handler = std::function<int(Fd connection)>;

  /// Null, with errno, if there is no free descriptor. At most `connections_max` are open at a
  /// time; further ones wait in the kernel.
  static std::unique_ptr<Acceptor> make(std::size_t connections_max);

  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;
  ~Acceptor();

  /// Starts the thread. `listener` is non-blocking. It, and all that `handler` refers to, must live
  /// until stop().
  void start(const Fd& listener, Handler handler);

  /// Ends the thread; connections stay open. start() may be called again. Idempotent; the
  /// destructor calls it.
  void stop();

 private:
  enum class Accepted { kOne, kNone, kPause };
  struct Connection {
    int fd = -1;
    std::uint64_t cookie = 0;  // differs from that of a later socket with the same descriptor
  };

  Acceptor(Fd stop, std::size_t connections_max);

  void run(int listener);
  Accepted accept_one(int listener);
  bool has_room();

  const std::size_t connections_max_;
  /// An eventfd: readable when the thread is to end.
  const Fd stop_;
  // From start() to stop(), only the thread uses these.
  Handler handler_;
  std::vector<Connection> connections_;
  std::thread thread_;
};

}  // namespace mc::admin
