// SPDX-License-Identifier: Apache-2.0
#pragma once
// Certificates of the admin API over TCP. A renewal needs no restart: the files are watched while
// the server runs. A set comes into force only after all of it was checked, so certificate and key
// always match, in any state of the files. Logs nothing: the caller of refresh() logs its result.

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

/// The server's certificate, its key and its clients' CA, in three files that may be renewed at any
/// time. One thread, except for the credentials, which gRPC's threads use. Must outlive every
/// server that has its credentials.
class CertificateFiles {
 public:
  /// Reads and checks the files; see rpc::read_credentials().
  static Result<std::unique_ptr<CertificateFiles>> load(rpc::CertificatePaths paths);

  CertificateFiles(const CertificateFiles&) = delete;
  CertificateFiles& operator=(const CertificateFiles&) = delete;
  ~CertificateFiles();

  /// Mutual TLS 1.2 or 1.3: a client must show a certificate that the CA verifies. Each handshake
  /// uses the set that is in force when it begins.
  std::shared_ptr<grpc::ServerCredentials> server_credentials();

  /// Checks whether the files have changed (three stat(2)). Returns a Renewal if their contents are
  /// now in force; an Error if they cannot be, and the earlier set stays in force; else nothing. It
  /// returns an Error once, and only if the files stayed the same from one call to the next,
  /// because a renewal writes one file after the other. To be called about once a second.
  std::optional<Result<Renewal>> refresh();

  /// Of the certificate in force. It may have expired: clients then refuse it, but it does not keep
  /// the server from starting, which would not help them either.
  [[nodiscard]] const std::string& subject() const { return info_.subject; }
  [[nodiscard]] std::chrono::sys_seconds expires_at() const { return info_.not_after; }

 private:
  class Current;
  class ServerCredentials;
  struct FileStates;

  /// How often the files are read after a change. Twice, because a second change within the same
  /// tick of the file system's clock is not visible.
  static constexpr int kLooks = 2;

  CertificateFiles(rpc::CertificatePaths paths, rpc::Credentials credentials,
                   const FileStates& states);

  const rpc::CertificatePaths paths_;
  rpc::CertificateInfo info_;
  int looks_ = 0;
  /// The last Error returned for the files in their current state; empty if none.
  std::string refused_;
  std::unique_ptr<FileStates> states_;
  std::unique_ptr<Current> current_;
};

}  // namespace mc::admin
