// SPDX-License-Identifier: Apache-2.0
#pragma once
// The credentials of one side of a connection: three PEM files, all checked before they are used.
// Any thread.

#include <string>

#include "base/result.hpp"
#include "rpc/certificate.hpp"

namespace mc::rpc {

/// PEM files. `certificate` may contain the chain after the certificate; `client_ca` holds the
/// certificates that verify the peer's.
struct CertificatePaths {
  std::string certificate, key, client_ca;
};

/// The side of a connection that uses the credentials. Selects the names in messages
/// ("grpc.tls_key" or "client key"), and the purpose that the certificate must allow.
enum class Side { kServer, kClient };

/// The contents of three files that match each other.
struct Credentials {
  std::string certificate_pem, key_pem, ca_pem;
  CertificateInfo info;
};

/// Reads the three files. Errors name the key, the file, the problem and the remedy. Does not check
/// dates: it reads an expired certificate like any other. Never asks for a passphrase.
Result<Credentials> read_credentials(const CertificatePaths& paths, Side side);

}  // namespace mc::rpc
