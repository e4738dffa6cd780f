// SPDX-License-Identifier: Apache-2.0
#include "client/handshake_probe.hpp"

#include <fmt/format.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <memory>

#include "base/clock.hpp"
#include "base/fd.hpp"
#include "base/quote.hpp"
#include "base/result.hpp"
#include "client/limits.hpp"
#include "rpc/certificate.hpp"
#include "rpc/limits.hpp"
#include "rpc/openssl.hpp"

namespace mc::client {
namespace {

using Addresses = std::unique_ptr<addrinfo, rpc::Free<freeaddrinfo>>;
using rpc::CertificateInfo;
using rpc::format_time;

/// Blocks SIGPIPE in this thread: OpenSSL writes to sockets that the peer may have closed, and the
/// caller's process may not ignore the signal.
class WithoutSigpipe {
 public:
  WithoutSigpipe() {
    ::sigemptyset(&sigpipe_);
    ::sigaddset(&sigpipe_, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &sigpipe_, &before_);
  }
  WithoutSigpipe(const WithoutSigpipe&) = delete;
  WithoutSigpipe& operator=(const WithoutSigpipe&) = delete;
  ~WithoutSigpipe() {
    const timespec now{};
    if (::sigismember(&before_, SIGPIPE) == 0) ::sigtimedwait(&sigpipe_, nullptr, &now);
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  sigset_t sigpipe_{}, before_{};
};

/// False when the deadline has passed.
bool wait_for(int fd, short events, Instant deadline) {
  for (;;) {
    const auto left = (deadline - Clock::now()).count();
    pollfd wanted{.fd = fd, .events = events, .revents = 0};
    const int ready = ::poll(&wanted, 1, static_cast<int>(std::max<std::int64_t>(left, 0)));
    if (ready > 0) return true;
    if (ready == 0) return false;
  }
}

/// 0 or an errno.
int connect_to(const addrinfo& address, Instant deadline, Fd& connection) {
  connection = Fd(::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!connection) return errno;
  if (::connect(connection.get(), address.ai_addr, address.ai_addrlen) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  if (!wait_for(connection.get(), POLLOUT, deadline)) return ETIMEDOUT;
  int error = 0;
  socklen_t size = sizeof(error);
  ::getsockopt(connection.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  return error;
}

std::string explain_unreachable(const Endpoint& endpoint, int error) {
  switch (error) {
    case ECONNREFUSED:
      return explain(endpoint, "no server listens there",
                     "start the server, or correct the address (grpc.addr of its configuration)");
    case ETIMEDOUT:
      return explain(endpoint, "no reply",
                     "correct the address, or allow it in the firewalls between");
    default:
      return explain(endpoint, std::strerror(error), "correct the address, or the network");
  }
}

/// A connection, or why there is none.
Result<Fd> dial(const Endpoint& endpoint, Instant deadline) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int failure = ::getaddrinfo(endpoint.host_port.host.c_str(),
                                    endpoint.host_port.port.c_str(), &hints, &found);
  const Addresses addresses(found);
  if (failure != 0) return fail(explain_unresolved(endpoint, ::gai_strerror(failure)));
  int error = 0;
  for (const addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next) {
    Fd connection;
    error = connect_to(*address, deadline, connection);
    if (error == 0) return connection;
  }
  return fail(explain_unreachable(endpoint, error));
}

/// The first error that OpenSSL found in the server's certificate.
struct CertificateVerdict {
  int error = X509_V_OK;
  int depth = 0;
  CertificateInfo certificate;
};

int note_verdict(int is_ok, X509_STORE_CTX* store) {
  if (is_ok == 1) return 1;
  const auto* session = static_cast<const SSL*>(
      ::X509_STORE_CTX_get_ex_data(store, ::SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto& verdict = *static_cast<CertificateVerdict*>(SSL_get_app_data(session));
  verdict.error = ::X509_STORE_CTX_get_error(store);
  verdict.depth = ::X509_STORE_CTX_get_error_depth(store);
  if (const X509* certificate = ::X509_STORE_CTX_get_current_cert(store)) {
    verdict.certificate = rpc::describe_certificate(*certificate);
  }
  return 0;
}

std::string explain_verdict(const Endpoint& endpoint, const CertificateVerdict& verdict) {
  const CertificateInfo& certificate = verdict.certificate;
  const std::string whose = fmt::format(
      "{} ({})", verdict.depth == 0 ? "its certificate" : "a certificate that verifies its own",
      certificate.subject);
  switch (verdict.error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return explain(
          endpoint, fmt::format("{} expired on {}", whose, format_time(certificate.not_after)),
          "renew it: the server follows grpc.tls_cert and grpc.tls_key without a restart");
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return explain(
          endpoint,
          fmt::format("{} is not valid before {}", whose, format_time(certificate.not_before)),
          "check the clocks of both machines");
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return explain(
          endpoint,
          fmt::format("{} is not for {} but for {}", whose, quote(endpoint.host_port.host),
                      certificate.names.empty() ? certificate.subject : certificate.names),
          "connect by one of its names, or issue one with this name (subjectAltName)");
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      return explain(endpoint,
                     fmt::format("{} was issued by {}, which is not in {}", whose,
                                 certificate.issuer, quote(endpoint.tls.ca)),
                     "name the file of that CA, or check whether this is the right server");
    default:
      return explain(
          endpoint,
          fmt::format("{} is refused: {}", whose, ::X509_verify_cert_error_string(verdict.error)),
          "issue another one");
  }
}

/// For a server that read our certificate and closed the connection. gRPC 1.51 sends no alert with
/// the reason.
std::string explain_refusal(const Endpoint& endpoint, const SSL& session) {
  const auto own = rpc::describe_certificate(endpoint.tls.certificate);
  if (!own) return own.error().message;
  const auto* accepted = ::SSL_get0_peer_CA_list(&session);
  std::string names;
  bool is_listed = false;
  for (int i = 0; i < sk_X509_NAME_num(accepted); ++i) {
    const std::string name = rpc::describe_name(*sk_X509_NAME_value(accepted, i));
    is_listed = is_listed || name == own->issuer;
    if (names.size() < rpc::kNamesBytesMax) names += (names.empty() ? "" : " or ") + name;
  }
  const std::string problem = fmt::format("it refused the client certificate {} ({})",
                                          quote(endpoint.tls.certificate), own->subject);
  if (names.empty() || is_listed) {
    return explain(
        endpoint, problem,
        "see its log for the reason: a date (check its clock), or a CA with the same name "
        "but another key");
  }
  return explain(
      endpoint, fmt::format("{}, issued by {}", problem, own->issuer),
      fmt::format("use one that was issued by {} (grpc.client_ca of the server), or add its "
                  "CA there",
                  names));
}

/// Repeats `operation` until it succeeds, fails or reaches the deadline; returns SSL_get_error().
template <class Operation>
int drive(SSL& session, Instant deadline, Operation operation) {
  for (;;) {
    ::ERR_clear_error();
    const int result = operation();
    if (result > 0) return SSL_ERROR_NONE;
    const int error = ::SSL_get_error(&session, result);
    const short events = error == SSL_ERROR_WANT_READ    ? POLLIN
                         : error == SSL_ERROR_WANT_WRITE ? POLLOUT
                                                         : 0;
    if (events == 0 || !wait_for(::SSL_get_fd(&session), events, deadline)) return error;
  }
}

/// The reason of OpenSSL's last error.
int openssl_reason() { return ERR_GET_REASON(::ERR_peek_last_error()); }

std::string explain_handshake(const Endpoint& endpoint, const SSL& session,
                              const CertificateVerdict& verdict, int error) {
  if (verdict.error != X509_V_OK) return explain_verdict(endpoint, verdict);
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
    return explain(endpoint, "it accepts connections but does not reply",
                   "check that the address is that of the admin API, and the server's log");
  }
  const int reason = error == SSL_ERROR_SSL ? openssl_reason() : 0;
  if (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_UNKNOWN_PROTOCOL ||
      reason == SSL_R_HTTP_REQUEST) {
    return explain(endpoint, "the server at this address does not use TLS",
                   "correct the address (grpc.addr of the server's configuration)");
  }
  if (::SSL_get0_verified_chain(&session) == nullptr) {
    return explain(endpoint,
                   reason == 0 || reason == SSL_R_UNEXPECTED_EOF_WHILE_READING
                       ? "it closed the connection during the handshake"
                       : ::ERR_reason_error_string(::ERR_peek_last_error()),
                   "check that the address is that of the admin API, and the server's log");
  }
  return explain_refusal(endpoint, session);
}

rpc::TlsSession make_session(const Endpoint& endpoint, SSL_CTX& context,
                             CertificateVerdict& verdict) {
  const auto refuse_passphrase = [](char*, int, int, void*) { return -1; };
  ::SSL_CTX_set_default_passwd_cb(&context, refuse_passphrase);
  if (::SSL_CTX_load_verify_locations(&context, endpoint.tls.ca.c_str(), nullptr) != 1 ||
      ::SSL_CTX_use_certificate_chain_file(&context, endpoint.tls.certificate.c_str()) != 1 ||
      ::SSL_CTX_use_PrivateKey_file(&context, endpoint.tls.key.c_str(), SSL_FILETYPE_PEM) != 1) {
    return nullptr;
  }
  rpc::TlsSession session(::SSL_new(&context));
  ::SSL_set_min_proto_version(session.get(), TLS1_2_VERSION);
  SSL_set_app_data(session.get(), &verdict);
  ::SSL_set_verify(session.get(), SSL_VERIFY_PEER, &note_verdict);
  constexpr unsigned char kHttp2[] = {2, 'h', '2'};
  ::SSL_set_alpn_protos(session.get(), kHttp2, sizeof(kHttp2));
  const char* const host = endpoint.host_port.host.c_str();
  X509_VERIFY_PARAM* const parameters = ::SSL_get0_param(session.get());
  ::X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_PARTIAL_CHAIN);  // as gRPC does
  if (::X509_VERIFY_PARAM_set1_ip_asc(parameters, host) != 1) {
    ::SSL_set1_host(session.get(), host);
    ::SSL_set_tlsext_host_name(session.get(), host);
  }
  return session;
}

}  // namespace

std::string explain(const Endpoint& endpoint, std::string_view problem, std::string_view remedy) {
  return fmt::format("server {}: {}; {}", quote(endpoint.address), problem, remedy);
}

std::string explain_unresolved(const Endpoint& endpoint, std::string_view cause) {
  return explain(
      endpoint,
      fmt::format("the name {} has no address ({})", quote(endpoint.host_port.host), cause),
      "correct it, or write the IP address");
}

std::optional<std::string> probe_handshake(const Endpoint& endpoint) {
  const Instant deadline = Clock::now() + kProbeWaitMax;
  const auto connection = dial(endpoint, deadline);
  if (!connection) return connection.error().message;
  CertificateVerdict verdict;
  const rpc::Context context(::SSL_CTX_new(::TLS_client_method()));
  const rpc::TlsSession session = make_session(endpoint, *context, verdict);
  if (!session) return std::nullopt;  // the files have changed since connect_tls() read them
  const WithoutSigpipe guard;
  ::SSL_set_fd(session.get(), connection->get());
  int error = drive(*session, deadline, [&] { return ::SSL_connect(session.get()); });
  if (error != SSL_ERROR_NONE) return explain_handshake(endpoint, *session, verdict, error);

  const unsigned char* protocol = nullptr;
  unsigned int protocol_size = 0;
  ::SSL_get0_alpn_selected(session.get(), &protocol, &protocol_size);
  if (protocol_size == 0) {
    return explain(endpoint, "the server at this address does not use HTTP/2",
                   "correct the address (grpc.addr of the server's configuration)");
  }
  // In TLS 1.3 the client completes the handshake before the server has seen its certificate. A
  // server that accepts the certificate then sends first (HTTP/2 SETTINGS).
  char first = 0;
  error = drive(*session, deadline, [&] { return ::SSL_read(session.get(), &first, 1); });
  if (error == SSL_ERROR_NONE) return std::nullopt;
  return explain_handshake(endpoint, *session, verdict, error);
}

}  // namespace mc::client
