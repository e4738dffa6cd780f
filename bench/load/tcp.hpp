// SPDX-License-Identifier: Apache-2.0
#pragma once
// The common part of the load generators: non-blocking sockets, ClientHellos from a file,
// percentiles. An error ends the program: a broken machine gives no measurement.

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "base/fd.hpp"

namespace mc::load {

inline int check(int result, const char* what) {
  if (result >= 0) return result;
  std::perror(what);
  std::exit(1);
}

inline void set_no_delay(int fd) {
  const int one = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

inline Fd tcp_socket() {
  Fd fd(check(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket"));
  set_no_delay(fd.get());
  return fd;
}

/// Closing the socket resets the connection: an orderly end would use up the ports with TIME_WAIT.
inline void reset_on_close(int fd) {
  const linger option{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &option, sizeof option);
}

inline void raise_descriptor_limit() {
  rlimit limit{};
  check(::getrlimit(RLIMIT_NOFILE, &limit), "getrlimit");
  limit.rlim_cur = limit.rlim_max;
  check(::setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
}

/// The ClientHellos of a file, which are one TLS record each (RFC 8446 section 5.1).
inline std::vector<std::string> read_hellos(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string all{std::istreambuf_iterator<char>(file), {}};
  constexpr std::size_t kHeader = 5;
  std::vector<std::string> hellos;
  for (std::size_t at = 0; at + kHeader <= all.size();) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(all[at + i]); };
    const std::size_t size = kHeader + (std::size_t{byte(3)} << 8) + byte(4);
    hellos.push_back(all.substr(at, size));
    at += size;
  }
  if (hellos.empty()) {
    std::cerr << path << ": no ClientHello\n";
    std::exit(1);
  }
  return hellos;
}

/// In microseconds; 0 if there are none. Reorders the latencies.
inline double percentile_us(std::vector<std::chrono::steady_clock::duration>& latencies,
                            double share) {
  if (latencies.empty()) return 0;
  const auto rank = static_cast<std::ptrdiff_t>(share * static_cast<double>(latencies.size()));
  std::ranges::nth_element(latencies, latencies.begin() + rank);
  return std::chrono::duration<double, std::micro>(latencies[static_cast<std::size_t>(rank)])
      .count();
}

}  // namespace mc::load
