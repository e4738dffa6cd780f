// SPDX-License-Identifier: Apache-2.0
#include "net/connect_address.hpp"

#include <cstring>

#include "base/assert.hpp"

namespace mc {

ConnectAddress::ConnectAddress(const SocketAddress& address) : size_(address.size()) {
  std::memcpy(&v6_, address.data(), size_);
}

ConnectAddress ConnectAddress::unix_socket(std::string_view path) {
  MC_ASSERT(path.size() < sizeof(sockaddr_un::sun_path),
            "a longer path is refused when it is read");
  ConnectAddress address;
  address.unix_ = {};
  address.unix_.sun_family = AF_UNIX;
  path.copy(address.unix_.sun_path, path.size());
  address.size_ = sizeof(sockaddr_un);
  return address;
}

}  // namespace mc
