// SPDX-License-Identifier: Apache-2.0
#include "admin/certificate_files.hpp"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <deque>
#include <mutex>
#include <utility>

#include "base/assert.hpp"

namespace mc::admin {

using rpc::CertificatePaths;
using rpc::Credentials;

/// Enough of the three files' state to detect every change. Without a file, the errno.
struct CertificateFiles::FileStates {
  struct State {
    int error = 0;
    dev_t device = 0;
    ino_t inode = 0;
    off_t size = 0;
    std::int64_t modified_ns = 0;
    std::int64_t changed_ns = 0;  // changes even if a program sets the modification time back
    bool operator==(const State&) const = default;
  };
  std::array<State, 3> states;
  bool operator==(const FileStates&) const = default;

  static State of(const std::string& path) {
    const auto to_ns = [](const timespec& time) {
      return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
    };
    struct stat status{};
    if (::stat(path.c_str(), &status) != 0) return {.error = errno};
    return {.device = status.st_dev,
            .inode = status.st_ino,
            .size = status.st_size,
            .modified_ns = to_ns(status.st_mtim),
            .changed_ns = to_ns(status.st_ctim)};
  }
  static FileStates of(const CertificatePaths& paths) {
    return {{of(paths.certificate), of(paths.key), of(paths.client_ca)}};
  }
};

/// The set in force, from which gRPC's threads fetch. gRPC fetches at each handshake, and keeps the
/// set that it has if the result is "unchanged". gRPC's own file watcher is not usable: it reads
/// the operator's files one after the other in any state, so a half-copied renewal would come into
/// force.
class CertificateFiles::Current {
 public:
  explicit Current(Credentials credentials) : credentials_(std::move(credentials)) {}

  void set(Credentials credentials) {
    const std::lock_guard lock(mutex_);
    credentials_ = std::move(credentials);
    ++version_;
  }

  [[nodiscard]] bool has(const Credentials& other) const {
    const std::lock_guard lock(mutex_);
    return credentials_.certificate_pem == other.certificate_pem &&
           credentials_.key_pem == other.key_pem && credentials_.ca_pem == other.ca_pem;
  }

  /// Makes credentials for one port: each port fetches by itself, and must get each change.
  grpc_server_credentials* make_port_credentials() {
    Port* port = nullptr;
    {
      const std::lock_guard lock(mutex_);
      port = &ports_.emplace_back(*this);
    }
    return ::grpc_ssl_server_credentials_create_with_options(
        ::grpc_ssl_server_credentials_create_options_using_config_fetcher(
            GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY, &fetch, port));
  }

 private:
  struct Port {
    explicit Port(Current& owner) : current(owner) {}
    Current& current;
    std::uint64_t version = 0;  // the one that gRPC has; 0: none
  };

  static grpc_ssl_certificate_config_reload_status fetch(
      void* user_data, grpc_ssl_server_certificate_config** config) {
    Port& port = *static_cast<Port*>(user_data);
    Current& current = port.current;
    const std::lock_guard lock(current.mutex_);
    if (port.version == current.version_) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    const grpc_ssl_pem_key_cert_pair pair{
        .private_key = current.credentials_.key_pem.c_str(),
        .cert_chain = current.credentials_.certificate_pem.c_str()};
    *config =
        ::grpc_ssl_server_certificate_config_create(current.credentials_.ca_pem.c_str(), &pair, 1);
    port.version = current.version_;
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
  }

  mutable std::mutex mutex_;
  Credentials credentials_;
  std::uint64_t version_ = 1;
  std::deque<Port> ports_;  // gRPC holds their addresses
};

class CertificateFiles::ServerCredentials : public grpc::ServerCredentials {
 public:
  explicit ServerCredentials(Current& current) : current_(current) {}

  void SetAuthMetadataProcessor(const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {
    MC_ASSERT(false, "the certificate is all the authentication there is");
  }

 private:
  int AddPortToServer(const std::string& addr, grpc_server* server) override {
    grpc_server_credentials* const credentials = current_.make_port_credentials();
    const int port = ::grpc_server_add_http2_port(server, addr.c_str(), credentials);
    ::grpc_server_credentials_release(credentials);
    return port;
  }

  Current& current_;
};

CertificateFiles::CertificateFiles(CertificatePaths paths, Credentials credentials,
                                   const FileStates& states)
    : paths_(std::move(paths)),
      info_(credentials.info),
      states_(std::make_unique<FileStates>(states)),
      current_(std::make_unique<Current>(std::move(credentials))) {}

CertificateFiles::~CertificateFiles() = default;

Result<std::unique_ptr<CertificateFiles>> CertificateFiles::load(CertificatePaths paths) {
  // Taken before the files are read, so that the first refresh() sees a change in between.
  const FileStates states = FileStates::of(paths);
  auto credentials = rpc::read_credentials(paths, rpc::Side::kServer);
  if (!credentials) return std::unexpected(std::move(credentials.error()));
  return std::unique_ptr<CertificateFiles>(
      new CertificateFiles(std::move(paths), *std::move(credentials), states));
}

std::shared_ptr<grpc::ServerCredentials> CertificateFiles::server_credentials() {
  return std::make_shared<ServerCredentials>(*current_);
}

std::optional<Result<Renewal>> CertificateFiles::refresh() {
  if (const FileStates states = FileStates::of(paths_); states != *states_) {
    *states_ = states;
    looks_ = 0;
    refused_.clear();
  }
  if (looks_ == kLooks && refused_.empty()) return std::nullopt;
  if (looks_ < kLooks) ++looks_;

  auto credentials = rpc::read_credentials(paths_, rpc::Side::kServer);
  if (!credentials) {
    if (looks_ < kLooks || credentials.error().message == refused_) return std::nullopt;
    refused_ = credentials.error().message;
    return std::unexpected(std::move(credentials.error()));
  }
  refused_.clear();
  if (current_->has(*credentials)) return std::nullopt;
  info_ = credentials->info;
  current_->set(*std::move(credentials));
  return Renewal{.subject = info_.subject, .expires_at = info_.not_after};
}

}  // namespace mc::admin
