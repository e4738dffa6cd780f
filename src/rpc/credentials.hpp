// SPDX-License-Identifier: Apache-2.0
#pragma once
// What one side of a connection shows and verifies the other by: three PEM files, checked as a
// whole before they are used. Any thread.

#include <string>

#include "base/result.hpp"
#include "rpc/certificate.hpp"

namespace mc::rpc {

/// PEM files. `certificate` may have the chain behind it; `client_ca` holds the certificates that
/// the peer's is verified by.
struct CertificatePaths {
  std::string certificate, key, client_ca;
};

/// For which side of a connection credentials are: decides the names in messages ("grpc.tls_key"
/// or "client key"), and what the certificate must be allowed to do.
enum class Side { kServer, kClient };

/// Three files' content that fits together.
struct Credentials {
  std::string certificate_pem, key_pem, ca_pem;
  CertificateInfo info;
};

/// Reads the three files. Errors name the key, the file, what is wrong and what to do. Dates are
/// not judged: an expired certificate is read like any other. Never asks for a passphrase.
Result<Credentials> read_credentials(const CertificatePaths& paths, Side side);

}  // namespace mc::rpc
