// SPDX-License-Identifier: Apache-2.0
#include "admin/certificates.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <deque>
#include <mutex>
#include <string_view>
#include <utility>
#include <vector>

#include "admin/limits.hpp"
#include "base/assert.hpp"
#include "base/fd.hpp"
#include "base/quote.hpp"

namespace mc::admin {
namespace {

template <auto kFree>
struct Free {
  template <class T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using Bio = std::unique_ptr<BIO, Free<BIO_free>>;
using Certificate = std::unique_ptr<X509, Free<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using Context = std::unique_ptr<SSL_CTX, Free<SSL_CTX_free>>;
using Names = std::unique_ptr<GENERAL_NAMES, Free<GENERAL_NAMES_free>>;

/// A file as messages name it: `grpc.tls_key "/srv/key.pem"`.
struct File {
  std::string_view role;
  const std::string& path;

  [[nodiscard]] std::string name() const { return fmt::format("{} {}", role, quote(path)); }
};

/// All messages about these files have this form.
std::unexpected<Error> fail_with(const File& file, std::string_view problem,
                                 std::string_view remedy) {
  return fail(fmt::format("{}: {}; {}", file.name(), problem, remedy));
}

std::unexpected<Error> fail_with_errno(const File& file, int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return fail_with(file, "there is no such file", "correct the path");
    case EACCES:
    case EPERM:
      return fail_with(file, fmt::format("the user with uid {} may not read it", ::geteuid()),
                       "give it permission (chgrp, chmod g+r; also x on the directories above)");
    default:
      return fail_with(file, std::strerror(error), "correct the path, or what is wrong there");
  }
}

/// The last word of OpenSSL, "ee key too small", without its codes.
std::string openssl_reason() {
  const unsigned long code = ::ERR_peek_last_error();
  const char* reason = ::ERR_reason_error_string(code);
  return reason != nullptr ? reason : fmt::format("OpenSSL error {:#x}", code);
}

bool failed_with(int library, int reason) {
  const unsigned long code = ::ERR_peek_last_error();
  return ERR_GET_LIB(code) == library && ERR_GET_REASON(code) == reason;
}

/// Whole, as text.
Result<std::string> read_text(const File& file) {
  // O_NONBLOCK: a FIFO has no writer to wait for.
  const Fd fd(::open(file.path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status{};
  if (!fd || ::fstat(fd.get(), &status) != 0) return fail_with_errno(file, errno);
  if (!S_ISREG(status.st_mode)) return fail_with(file, "this is not a file", "correct the path");
  std::string text(kCredentialBytesMax + 1, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const ssize_t part = ::read(fd.get(), text.data() + size, text.size() - size);
    if (part < 0 && errno == EINTR) continue;
    if (part < 0) return fail_with_errno(file, errno);
    if (part == 0) break;
    size += static_cast<std::size_t>(part);
  }
  if (size > kCredentialBytesMax) {
    return fail_with(file, fmt::format("it has more than {} bytes", kCredentialBytesMax),
                     "correct the path");
  }
  text.resize(size);
  if (text.empty()) return fail_with(file, "it is empty", "copy it again");
  // gRPC takes texts that end at their first NUL: it would read another one than is checked here.
  if (text.contains('\0')) {
    return fail_with(file, "this is not PEM text",
                     "if it is DER, convert it: openssl x509 (or pkey) -inform DER -in FILE -out "
                     "FILE.pem");
  }
  return text;
}

Bio text_bio(const std::string& text) {
  return Bio(::BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

/// A passphrase is never asked for; that one is needed is noted in `user`.
int refuse_passphrase(char*, int, int, void* user) {
  if (user != nullptr) *static_cast<bool*>(user) = true;
  return -1;
}

/// All certificates of a text, at least one. Text between them is a comment.
Result<std::vector<Certificate>> parse_certificates(const File& file, const std::string& text) {
  const Bio bio = text_bio(text);
  std::vector<Certificate> certificates;
  for (;;) {
    ::ERR_clear_error();
    Certificate next(::PEM_read_bio_X509_AUX(bio.get(), nullptr, &refuse_passphrase, nullptr));
    if (!next) break;
    certificates.push_back(std::move(next));
  }
  if (!failed_with(ERR_LIB_PEM, PEM_R_NO_START_LINE)) {
    return fail_with(file,
                     fmt::format("certificate {} of it is damaged ({})", certificates.size() + 1,
                                 openssl_reason()),
                     "copy it again, whole");
  }
  if (certificates.empty()) {
    return fail_with(file, "there is no certificate in it",
                     text.contains("PRIVATE KEY-----")
                         ? "it holds a key: are the two paths swapped?"
                         : "name a PEM file, with \"-----BEGIN CERTIFICATE-----\" in it");
  }
  return certificates;
}

Result<Key> parse_key(const File& file, const std::string& text) {
  const Bio bio = text_bio(text);
  bool needs_passphrase = false;
  ::ERR_clear_error();
  Key key(::PEM_read_bio_PrivateKey(bio.get(), nullptr, &refuse_passphrase, &needs_passphrase));
  if (key) return key;
  if (needs_passphrase) {
    return fail_with(file, "it is protected by a passphrase, which nobody could type",
                     fmt::format("make one without: openssl pkey -in {} -out FILE", file.path));
  }
  if (!text.contains("PRIVATE KEY-----")) {
    return fail_with(file, "there is no private key in it",
                     text.contains("BEGIN CERTIFICATE")
                         ? "it holds a certificate: are the two paths swapped?"
                         : "name a PEM file, with \"-----BEGIN PRIVATE KEY-----\" in it");
  }
  return fail_with(file, fmt::format("the key is damaged ({})", openssl_reason()),
                   "copy it again, whole");
}

std::chrono::sys_seconds to_time(const ASN1_TIME* time) {
  std::tm fields{};
  if (::ASN1_TIME_to_tm(time, &fields) != 1) return {};
  return std::chrono::sys_seconds(std::chrono::seconds(::timegm(&fields)));
}

std::string text_of(BIO& bio) {
  char* text = nullptr;
  const long size = ::BIO_get_mem_data(&bio, &text);
  return size > 0 ? printable(std::string_view(text, static_cast<std::size_t>(size))) : "";
}

std::string alternative_names(const X509& certificate) {
  const Names names(static_cast<GENERAL_NAMES*>(
      ::X509_get_ext_d2i(&certificate, NID_subject_alt_name, nullptr, nullptr)));
  std::string text;
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const Bio bio(::BIO_new(::BIO_s_mem()));
    ::GENERAL_NAME_print(bio.get(), sk_GENERAL_NAME_value(names.get(), i));
    text += (text.empty() ? "" : ", ") + text_of(*bio);
    if (text.size() > kNamesBytesMax) {
      return std::string(utf8_prefix(text, kNamesBytesMax)) + "...";
    }
  }
  return text;
}

/// The names of the three files.
struct Roles {
  std::string_view certificate, key, ca;
};

Roles roles_of(Side side) {
  if (side == Side::kServer) return {"grpc.tls_cert", "grpc.tls_key", "grpc.client_ca"};
  return {"client certificate", "client key", "CA file"};
}

std::unexpected<Error> fail_with_mismatch(const File& key_file, const EVP_PKEY& key,
                                          const File& certificate_file,
                                          const std::vector<Certificate>& chain) {
  for (std::size_t i = 1; i < chain.size(); ++i) {
    if (::X509_check_private_key(chain[i].get(), &key) != 1) continue;
    return fail_with(certificate_file,
                     fmt::format("the key belongs to its certificate {}, not to its first", i + 1),
                     "put that one first, and those that verify it behind it");
  }
  return fail_with(
      key_file,
      fmt::format("the key does not belong to the certificate in {}", quote(certificate_file.path)),
      "copy certificate and key of the same issue");
}

/// That the two can be used in a handshake on this machine: system-wide policy may want longer keys
/// or newer signatures.
Result<void> check_usable(const File& file, const std::vector<Certificate>& chain, EVP_PKEY& key,
                          Side side) {
  const int purpose = side == Side::kServer ? X509_PURPOSE_SSL_SERVER : X509_PURPOSE_SSL_CLIENT;
  if (::X509_check_purpose(chain.front().get(), purpose, 0) != 1) {
    const bool is_server = side == Side::kServer;
    return fail_with(file,
                     fmt::format("it must not be used by a {}", is_server ? "server" : "client"),
                     fmt::format("issue one with extendedKeyUsage = {}",
                                 is_server ? "serverAuth" : "clientAuth"));
  }
  const Context context(::SSL_CTX_new(::TLS_method()));
  MC_ASSERT(context != nullptr, "without memory there is no way on");
  bool is_usable = ::SSL_CTX_use_certificate(context.get(), chain.front().get()) == 1 &&
                   ::SSL_CTX_use_PrivateKey(context.get(), &key) == 1;
  for (std::size_t i = 1; i < chain.size() && is_usable; ++i) {
    is_usable = ::SSL_CTX_add1_chain_cert(context.get(), chain[i].get()) == 1;
  }
  if (is_usable) return {};
  return fail_with(file, fmt::format("OpenSSL does not accept it ({})", openssl_reason()),
                   "issue one that this machine's policy allows (RSA of 2048 bits, ECDSA P-256; "
                   "SHA-256)");
}

}  // namespace

std::string format_time(std::chrono::sys_seconds time) {
  const std::time_t seconds = time.time_since_epoch().count();
  std::tm fields{};
  if (::gmtime_r(&seconds, &fields) == nullptr) return fmt::format("@{}", seconds);
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02} UTC", fields.tm_year + 1900,
                     fields.tm_mon + 1, fields.tm_mday, fields.tm_hour, fields.tm_min,
                     fields.tm_sec);
}

std::string describe_name(const X509_name_st& name) {
  const Bio bio(::BIO_new(::BIO_s_mem()));
  // Without ESC_MSB, names in any script stay readable; printable() sees to the rest.
  ::X509_NAME_print_ex(bio.get(), &name, 0,
                       XN_FLAG_RFC2253 & ~static_cast<unsigned long>(ASN1_STRFLGS_ESC_MSB));
  return text_of(*bio);
}

CertificateInfo describe_certificate(const X509& certificate) {
  CertificateInfo info{.subject = describe_name(*::X509_get_subject_name(&certificate)),
                       .issuer = describe_name(*::X509_get_issuer_name(&certificate)),
                       .names = alternative_names(certificate),
                       .not_before = to_time(::X509_get0_notBefore(&certificate)),
                       .not_after = to_time(::X509_get0_notAfter(&certificate))};
  // Certificates of public CAs may have no subject any more.
  if (info.subject.empty()) info.subject = info.names.empty() ? "(no subject)" : info.names;
  return info;
}

Result<CertificateInfo> describe_certificate(const std::string& path) {
  const File file{"certificate", path};
  const auto text = read_text(file);
  if (!text) return std::unexpected(text.error());
  const auto certificates = parse_certificates(file, *text);
  if (!certificates) return std::unexpected(certificates.error());
  return describe_certificate(*certificates->front());
}

Result<Credentials> read_credentials(const CertificatePaths& paths, Side side) {
  const Roles roles = roles_of(side);
  const File certificate_file{roles.certificate, paths.certificate};
  const File key_file{roles.key, paths.key};
  const File ca_file{roles.ca, paths.client_ca};

  auto certificate_pem = read_text(certificate_file);
  if (!certificate_pem) return std::unexpected(certificate_pem.error());
  const auto chain = parse_certificates(certificate_file, *certificate_pem);
  if (!chain) return std::unexpected(chain.error());

  auto key_pem = read_text(key_file);
  if (!key_pem) return std::unexpected(key_pem.error());
  const auto key = parse_key(key_file, *key_pem);
  if (!key) return std::unexpected(key.error());
  if (::X509_check_private_key(chain->front().get(), key->get()) != 1) {
    return fail_with_mismatch(key_file, **key, certificate_file, *chain);
  }
  if (const auto usable = check_usable(certificate_file, *chain, **key, side); !usable) {
    return std::unexpected(usable.error());
  }

  auto ca_pem = read_text(ca_file);
  if (!ca_pem) return std::unexpected(ca_pem.error());
  const auto authorities = parse_certificates(ca_file, *ca_pem);
  if (!authorities) return std::unexpected(authorities.error());

  return Credentials{.certificate_pem = *std::move(certificate_pem),
                     .key_pem = *std::move(key_pem),
                     .ca_pem = *std::move(ca_pem),
                     .info = describe_certificate(*chain->front())};
}

/// Enough of the three files' state to notice every change. Where there is no file, the errno.
struct CertificateFiles::FileStates {
  struct State {
    int error = 0;
    dev_t device = 0;
    ino_t inode = 0;
    off_t size = 0;
    std::int64_t modified_ns = 0;
    std::int64_t changed_ns = 0;  // also told by those who set the time of modification back
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

/// What is in force, as gRPC's threads fetch it. gRPC asks at each handshake, and keeps what it has
/// when told that nothing changed. Its own file watcher would not do: it reads the operator's files
/// one after the other in whatever state they are, so that a half-copied renewal would go into
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

  /// Of a port's own: each port asks for itself, and must be told of each change.
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
    std::uint64_t version = 0;  // that gRPC has; 0: none
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
  std::deque<Port> ports_;  // their addresses are gRPC's
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
  // Before the files are read: a change meanwhile is seen by the first refresh().
  const FileStates states = FileStates::of(paths);
  auto credentials = read_credentials(paths, Side::kServer);
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

  auto credentials = read_credentials(paths_, Side::kServer);
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
