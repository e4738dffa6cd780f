// SPDX-License-Identifier: Apache-2.0
#pragma once
// Certificates of the admin API over TCP: read, checked before they are used, and followed while
// the server runs, so that a renewal needs no restart. What is in force has always been checked
// whole: certificate and key belong together, whatever state the files are in. Logs nothing; who
// calls refresh() says what it answered.

#include <grpcpp/security/server_credentials.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "base/result.hpp"

// OpenSSL's X509 and X509_NAME.
struct x509_st;
struct X509_name_st;

namespace mc::admin {

/// PEM files. `certificate` may have the chain behind it; `client_ca` holds the certificates that
/// the peer's is verified by.
struct CertificatePaths {
  std::string certificate, key, client_ca;
};

/// What a person wants to know of a certificate, made printable. Subject and issuer are as RFC 2253
/// writes them, "CN=alice,O=Example"; `names` are the alternative names, "DNS:alice, DNS:bob", cut
/// where there are very many. A certificate without a subject goes by its names.
struct CertificateInfo {
  std::string subject, issuer, names;
  std::chrono::sys_seconds not_before, not_after;
};

/// The first certificate of a PEM file. Errors name the file. Any thread.
Result<CertificateInfo> describe_certificate(const std::string& path);

/// Of a certificate of OpenSSL's (X509). Any thread.
CertificateInfo describe_certificate(const x509_st& certificate);

/// A name of OpenSSL's (X509_NAME) as CertificateInfo has it. Any thread.
std::string describe_name(const X509_name_st& name);

/// Seconds in UTC as people write them: "2026-11-22 15:28:03 UTC".
std::string format_time(std::chrono::sys_seconds time);

/// For which side of a connection credentials are: decides the names in messages ("grpc.tls_key"
/// or "client key"), and what the certificate must be allowed to do.
enum class Side { kServer, kClient };

/// Three files' content that fits together.
struct Credentials {
  std::string certificate_pem, key_pem, ca_pem;
  CertificateInfo info;
};

/// Reads the three files. Errors name the key, the file, what is wrong and what to do. Dates are
/// not judged: an expired certificate is read like any other. Never asks for a passphrase. Any
/// thread.
Result<Credentials> read_credentials(const CertificatePaths& paths, Side side);

/// A certificate that has just come into force.
struct Renewal {
  std::string subject;
  std::chrono::sys_seconds expires_at;
};

/// The server's certificate, its key and its clients' CA, as three files that may be renewed at any
/// time. One thread, but for the credentials, which gRPC's threads use. Must outlive every server
/// that has its credentials.
class CertificateFiles {
 public:
  /// Reads and checks the files; see read_credentials().
  static Result<std::unique_ptr<CertificateFiles>> load(CertificatePaths paths);

  CertificateFiles(const CertificateFiles&) = delete;
  CertificateFiles& operator=(const CertificateFiles&) = delete;
  ~CertificateFiles();

  /// Mutual TLS 1.2 or 1.3: a client must show a certificate that the CA verifies. Each handshake
  /// is made with what is in force when it begins.
  std::shared_ptr<grpc::ServerCredentials> server_credentials();

  /// Looks whether the files have changed, which costs three stat(2). A Renewal: what they hold is
  /// now in force. An Error: it cannot be, and what was in force stays; said once, and not before
  /// the files have stayed so from one call to the next, since a renewal writes one file after the
  /// other. Else nothing. To be called about once a second.
  std::optional<Result<Renewal>> refresh();

  /// Of the certificate in force. It may have expired: clients then refuse it, but a server that
  /// did not start would not help them.
  [[nodiscard]] const std::string& subject() const { return info_.subject; }
  [[nodiscard]] std::chrono::sys_seconds expires_at() const { return info_.not_after; }

 private:
  class Current;
  class ServerCredentials;
  struct FileStates;

  /// How often files are read after a change: again, since a second change within the same tick of
  /// the file system's clock would not show.
  static constexpr int kLooks = 2;

  CertificateFiles(CertificatePaths paths, Credentials credentials, const FileStates& states);

  const CertificatePaths paths_;
  CertificateInfo info_;
  int looks_ = 0;
  /// The Error that was last said of the files as they are; empty if none.
  std::string refused_;
  std::unique_ptr<FileStates> states_;
  std::unique_ptr<Current> current_;
};

}  // namespace mc::admin
