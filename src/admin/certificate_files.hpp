// SPDX-License-Identifier: Apache-2.0
#pragma once
// Certificates of the admin API over TCP, followed while the server runs, so that a renewal needs
// no restart. What is in force has always been checked whole: certificate and key belong together,
// whatever state the files are in. Logs nothing: the caller of refresh() logs what it returned.

#include <grpcpp/security/server_credentials.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "base/result.hpp"
#include "rpc/credentials.hpp"

namespace mc::admin {

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
  /// Reads and checks the files; see rpc::read_credentials().
  static Result<std::unique_ptr<CertificateFiles>> load(rpc::CertificatePaths paths);

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

  CertificateFiles(rpc::CertificatePaths paths, rpc::Credentials credentials,
                   const FileStates& states);

  const rpc::CertificatePaths paths_;
  rpc::CertificateInfo info_;
  int looks_ = 0;
  /// The Error that was last said of the files as they are; empty if none.
  std::string refused_;
  std::unique_ptr<FileStates> states_;
  std::unique_ptr<Current> current_;
};

}  // namespace mc::admin
