// SPDX-License-Identifier: Apache-2.0
#include "admin/channel.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/security/credentials.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "admin/certificates.hpp"
#include "admin/limits.hpp"
#include "admin/local_socket.hpp"
#include "base/fd.hpp"
#include "base/owner.hpp"
#include "base/quote.hpp"

namespace mc::admin {
namespace {

using Clock = std::chrono::steady_clock;

// ---- the local socket

/// Whether systemd runs here and has the unit: sd_booted(3), systemd.unit(5).
bool is_installed(const std::string& unit) {
  constexpr const char* kRunning = "/run/systemd/system";
  constexpr const char* kUnitPaths[] = {"/etc/systemd/system", kRunning,
                                        "/usr/local/lib/systemd/system", "/usr/lib/systemd/system",
                                        "/lib/systemd/system"};
  return ::access(kRunning, F_OK) == 0 && std::ranges::any_of(kUnitPaths, [&](const char* path) {
           return ::access(fmt::format("{}/{}.service", path, unit).c_str(), F_OK) == 0;
         });
}

/// By hand, root would start a server beside the service that is meant.
std::string how_to_start(const LocalServer& server) {
  if (!server.unit.empty() && is_installed(server.unit)) return "systemctl start " + server.unit;
  return "mc-proxy server -c " + (server.config.empty() ? "FILE" : server.config);
}

std::unexpected<Error> fail_without_server(const LocalServer& server, std::string_view finding) {
  return fail(
      fmt::format("no server runs with this configuration: admin socket {}: {}; start it: {}",
                  quote(server.socket), finding, how_to_start(server)));
}

/// "root", or the user that owns the socket and root.
std::string who_may_connect(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return "the user that the server runs as, or root";
  if (status.st_uid == 0) return "root";
  return fmt::format("the user that owns it ({}), or root", user_text(status.st_uid));
}

bool is_socket(const std::string& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) != 0 || S_ISSOCK(status.st_mode);
}

std::unexpected<Error> fail_with_intruder(const LocalServer& server) {
  return fail(
      fmt::format("admin socket {}: there is something that is no socket; correct "
                  "grpc.socket, or remove what is there and restart the server",
                  quote(server.socket)));
}

std::unexpected<Error> fail_to_connect(const LocalServer& server, int error) {
  const std::string socket = quote(server.socket);
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return fail_without_server(server, "there is no such file");
    case ECONNREFUSED:
      if (!is_socket(server.socket)) return fail_with_intruder(server);
      return fail_without_server(server, "the server that made it has been killed");
    case EACCES:
    case EPERM:
      return fail(
          fmt::format("admin socket {}: the user with uid {} may not connect to it; run this as {}",
                      socket, ::geteuid(), who_may_connect(server.socket)));
    case EAGAIN:
      return fail(fmt::format(
          "admin socket {}: the server has not accepted the connection for {} s; it is overloaded "
          "or stopped: see its log (journalctl -u mc-proxy), then try again",
          socket, std::chrono::duration_cast<std::chrono::seconds>(kLocalConnectWaitMax).count()));
    default:
      return fail(
          fmt::format("admin socket {}: {}; correct grpc.socket", socket, std::strerror(error)));
  }
}

/// connect(2) waits while too many others do.
bool limit_wait(int fd) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(kLocalConnectWaitMax);
  const timeval limit{.tv_sec = seconds.count(), .tv_usec = 0};
  return ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) == 0;
}

// ---- addresses

struct HostPort {
  std::string host;  // without brackets
  std::string port;
};

std::unexpected<Error> fail_with_address(const std::string& address, std::string_view problem) {
  return fail(fmt::format(
      "address {}: {}; write host:port, like localhost:9090, 192.0.2.1:9090 or [2001:db8::1]:9090",
      quote(address), problem));
}

bool is_host_character(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
         c == '-' || c == '_' || c == ':' || c == '%';
}

Result<HostPort> parse_address(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  if (colon == address.npos || address.ends_with(']')) {
    return fail_with_address(address, "the port is missing");
  }
  std::string_view host = std::string_view(address).substr(0, colon);
  const std::string_view port = std::string_view(address).substr(colon + 1);
  std::uint16_t number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (error != std::errc() || end != port.data() + port.size() || number == 0) {
    return fail_with_address(address, "the port is no number from 1 to 65535");
  }
  if (host.size() > 2 && host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  } else if (host.contains(':')) {
    return fail_with_address(address, "an IPv6 address needs brackets");
  }
  if (host.empty()) return fail_with_address(address, "the host is missing");
  if (!std::ranges::all_of(host, is_host_character)) {
    return fail_with_address(address, "the host is neither a name nor an IP address");
  }
  return HostPort{.host = std::string(host), .port = std::string(port)};
}

// ---- what a status means

/// Words of gRPC 1.51 itself, when it has no connection or loses it. Any other message is the
/// server's.
constexpr std::string_view kNotConnected = "failed to connect to all addresses";
constexpr std::string_view kTransportWords[] = {
    kNotConnected,
    "DNS resolution failed",
    "Socket closed",
    "Endpoint read failed",
    "Connection reset by peer",
    "Broken pipe",
    "GOAWAY received",
    "keepalive watchdog timeout",
    "Deadline Exceeded",
    "Transport closed",
    "channel is in state TRANSIENT_FAILURE",
    "empty address list",
};

bool is_of_transport(const grpc::Status& status) {
  if (status.error_code() != grpc::StatusCode::UNAVAILABLE &&
      status.error_code() != grpc::StatusCode::DEADLINE_EXCEEDED) {
    return false;
  }
  const std::string message = status.error_message();
  return message.empty() || std::ranges::any_of(kTransportWords, [&](std::string_view words) {
           return message.contains(words);
         });
}

bool was_connected(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::UNAVAILABLE &&
         !status.error_message().starts_with(kNotConnected);
}

std::string own_words(const grpc::Status& status) {
  if (!status.error_message().empty()) return status.error_message();
  return fmt::format("the call failed with gRPC code {}", static_cast<int>(status.error_code()));
}

std::string explain_lost(const grpc::Status& status, const std::string& where) {
  if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
    return fmt::format(
        "server {}: no answer in time; see its log (journalctl -u mc-proxy) and whether it has "
        "done what was asked before you try again",
        quote(where));
  }
  return fmt::format(
      "server {}: it has closed the connection ({}), so it was stopped or has crashed; see its log "
      "(journalctl -u mc-proxy) and whether it has done what was asked before you try again",
      quote(where), printable(status.error_message()));
}

// ---- a handshake of our own

template <auto kFree>
struct Free {
  template <class T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using Context = std::unique_ptr<SSL_CTX, Free<SSL_CTX_free>>;
using TlsSession = std::unique_ptr<SSL, Free<SSL_free>>;
using Addresses = std::unique_ptr<addrinfo, Free<freeaddrinfo>>;

/// OpenSSL writes to sockets that the peer may have closed; the caller's process may not be one
/// that ignores SIGPIPE.
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
bool wait_for(int fd, short events, Clock::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd wanted{.fd = fd, .events = events, .revents = 0};
    const int ready = ::poll(&wanted, 1, static_cast<int>(std::max<std::int64_t>(left, 0)));
    if (ready > 0) return true;
    if (ready == 0) return false;
  }
}

/// 0 or an errno.
int connect_to(const addrinfo& address, Clock::time_point deadline, Fd& connection) {
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

struct Endpoint {
  const std::string& address;
  const HostPort& host_port;
  const ClientTls& tls;
};

std::string say(const Endpoint& endpoint, std::string_view problem, std::string_view remedy) {
  return fmt::format("server {}: {}; {}", quote(endpoint.address), problem, remedy);
}

std::string explain_unresolved(const Endpoint& endpoint, std::string_view cause) {
  return say(endpoint,
             fmt::format("the name {} has no address ({})", quote(endpoint.host_port.host), cause),
             "correct it, or write the IP address");
}

std::string explain_unreachable(const Endpoint& endpoint, int error) {
  switch (error) {
    case ECONNREFUSED:
      return say(endpoint, "nobody listens there",
                 "start the server, or correct the address (grpc.addr of its configuration)");
    case ETIMEDOUT:
      return say(endpoint, "no answer",
                 "correct the address, or let a firewall on the way pass it");
    default:
      return say(endpoint, std::strerror(error), "correct the address, or the network");
  }
}

/// A connection, or why there is none.
Result<Fd> dial(const Endpoint& endpoint, Clock::time_point deadline) {
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

/// What was wrong with the server's certificate; what OpenSSL found first.
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
    verdict.certificate = describe_certificate(*certificate);
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
      return say(endpoint,
                 fmt::format("{} expired on {}", whose, format_time(certificate.not_after)),
                 "renew it: the server follows grpc.tls_cert and grpc.tls_key without a restart");
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return say(
          endpoint,
          fmt::format("{} is not valid before {}", whose, format_time(certificate.not_before)),
          "check the clocks of both machines");
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return say(endpoint,
                 fmt::format("{} is not for {} but for {}", whose, quote(endpoint.host_port.host),
                             certificate.names.empty() ? certificate.subject : certificate.names),
                 "connect by one of its names, or issue one with this name (subjectAltName)");
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      return say(endpoint,
                 fmt::format("{} was issued by {}, which is not in {}", whose, certificate.issuer,
                             quote(endpoint.tls.ca)),
                 "name the file of that CA, or check whether this is the right server");
    default:
      return say(
          endpoint,
          fmt::format("{} is refused: {}", whose, ::X509_verify_cert_error_string(verdict.error)),
          "issue another one");
  }
}

/// The server has taken our connection so far as to see our certificate, and closed it. gRPC 1.51
/// sends no alert that would tell why.
std::string explain_refusal(const Endpoint& endpoint, const SSL& session) {
  const auto own = describe_certificate(endpoint.tls.certificate);
  if (!own) return own.error().message;
  const auto* accepted = ::SSL_get0_peer_CA_list(&session);
  std::string names;
  bool is_listed = false;
  for (int i = 0; i < sk_X509_NAME_num(accepted); ++i) {
    const std::string name = describe_name(*sk_X509_NAME_value(accepted, i));
    is_listed = is_listed || name == own->issuer;
    if (names.size() < kNamesBytesMax) names += (names.empty() ? "" : " or ") + name;
  }
  const std::string problem = fmt::format("it refused the client certificate {} ({})",
                                          quote(endpoint.tls.certificate), own->subject);
  if (names.empty() || is_listed) {
    return say(endpoint, problem,
               "its log says why: a date (check its clock), or a CA that has the same name but "
               "another key");
  }
  return say(endpoint, fmt::format("{}, issued by {}", problem, own->issuer),
             fmt::format("use one that was issued by {} (grpc.client_ca of the server), or add its "
                         "CA there",
                         names));
}

/// Makes progress until `operation` is done, fails or is out of time; returns SSL_get_error().
template <class Operation>
int drive(SSL& session, Clock::time_point deadline, Operation operation) {
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

/// The last word of OpenSSL.
int openssl_reason() { return ERR_GET_REASON(::ERR_peek_last_error()); }

std::string explain_handshake(const Endpoint& endpoint, const SSL& session,
                              const CertificateVerdict& verdict, int error) {
  if (verdict.error != X509_V_OK) return explain_verdict(endpoint, verdict);
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
    return say(endpoint, "it accepts connections and does not answer",
               "check that the address is that of the admin API, and the server's log");
  }
  const int reason = error == SSL_ERROR_SSL ? openssl_reason() : 0;
  if (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_UNKNOWN_PROTOCOL ||
      reason == SSL_R_HTTP_REQUEST) {
    return say(endpoint, "what answers there does not speak TLS",
               "correct the address (grpc.addr of the server's configuration)");
  }
  if (::SSL_get0_verified_chain(&session) == nullptr) {
    return say(endpoint,
               reason == 0 || reason == SSL_R_UNEXPECTED_EOF_WHILE_READING
                   ? "it closed the connection during the handshake"
                   : ::ERR_reason_error_string(::ERR_peek_last_error()),
               "check that the address is that of the admin API, and the server's log");
  }
  return explain_refusal(endpoint, session);
}

TlsSession make_session(const Endpoint& endpoint, SSL_CTX& context, CertificateVerdict& verdict) {
  const auto refuse_passphrase = [](char*, int, int, void*) { return -1; };
  ::SSL_CTX_set_default_passwd_cb(&context, refuse_passphrase);
  if (::SSL_CTX_load_verify_locations(&context, endpoint.tls.ca.c_str(), nullptr) != 1 ||
      ::SSL_CTX_use_certificate_chain_file(&context, endpoint.tls.certificate.c_str()) != 1 ||
      ::SSL_CTX_use_PrivateKey_file(&context, endpoint.tls.key.c_str(), SSL_FILETYPE_PEM) != 1) {
    return nullptr;
  }
  TlsSession session(::SSL_new(&context));
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

/// Connects as gRPC did and says what is wrong; nothing if all is well.
std::optional<std::string> probe(const Endpoint& endpoint) {
  const auto deadline = Clock::now() + kProbeWaitMax;
  const auto connection = dial(endpoint, deadline);
  if (!connection) return connection.error().message;
  CertificateVerdict verdict;
  const Context context(::SSL_CTX_new(::TLS_client_method()));
  const TlsSession session = make_session(endpoint, *context, verdict);
  if (!session) return std::nullopt;  // the files have changed since connect_tls() read them
  const WithoutSigpipe guard;
  ::SSL_set_fd(session.get(), connection->get());
  int error = drive(*session, deadline, [&] { return ::SSL_connect(session.get()); });
  if (error != SSL_ERROR_NONE) return explain_handshake(endpoint, *session, verdict, error);

  const unsigned char* protocol = nullptr;
  unsigned int protocol_size = 0;
  ::SSL_get0_alpn_selected(session.get(), &protocol, &protocol_size);
  if (protocol_size == 0) {
    return say(endpoint, "what answers there does not speak HTTP/2",
               "correct the address (grpc.addr of the server's configuration)");
  }
  // In TLS 1.3 the client is done before the server has seen its certificate. A server that takes
  // it speaks first (HTTP/2 SETTINGS).
  char first = 0;
  error = drive(*session, deadline, [&] { return ::SSL_read(session.get(), &first, 1); });
  if (error == SSL_ERROR_NONE) return std::nullopt;
  return explain_handshake(endpoint, *session, verdict, error);
}

Result<void> check_dates(const ClientTls& tls, const CertificateInfo& certificate) {
  const auto now = std::chrono::system_clock::now();
  const auto fail_with = [&](std::string_view problem, std::chrono::sys_seconds time,
                             std::string_view remedy) {
    return fail(fmt::format("client certificate {}: {} {} ({}); {}", quote(tls.certificate),
                            problem, format_time(time), certificate.subject, remedy));
  };
  if (now > certificate.not_after) {
    return fail_with("it expired on", certificate.not_after, "issue a new one");
  }
  if (now < certificate.not_before) {
    return fail_with("it is not valid before", certificate.not_before,
                     "check this machine's clock (date -u)");
  }
  return {};
}

grpc::ChannelArguments arguments() {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMessageBytesMax);
  arguments.SetMaxSendMessageSize(kMessageBytesMax);
  // Else gRPC sends even what is for this machine to the proxy of $http_proxy.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return arguments;
}

}  // namespace

Result<std::shared_ptr<grpc::Channel>> connect_local(const LocalServer& server) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (server.socket.empty() || server.socket.size() >= sizeof(address.sun_path)) {
    return fail_to_connect(server, ENAMETOOLONG);
  }
  server.socket.copy(address.sun_path, server.socket.size());
  Fd connection(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!connection || !limit_wait(connection.get()) ||
      ::connect(connection.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) !=
          0) {
    return fail_to_connect(server, errno);
  }
  const int flags = ::fcntl(connection.get(), F_GETFL);
  if (flags < 0 || ::fcntl(connection.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    return fail_to_connect(server, errno);
  }
  return grpc::CreateCustomInsecureChannelFromFd("localhost", connection.release(), arguments());
}

Result<std::shared_ptr<grpc::Channel>> connect_tls(const std::string& address,
                                                   const ClientTls& tls) {
  const auto host_port = parse_address(address);
  if (!host_port) return std::unexpected(host_port.error());
  auto credentials = read_credentials(
      {.certificate = tls.certificate, .key = tls.key, .client_ca = tls.ca}, Side::kClient);
  if (!credentials) return std::unexpected(std::move(credentials.error()));
  if (const auto dates = check_dates(tls, credentials->info); !dates) {
    return std::unexpected(dates.error());
  }
  const grpc::SslCredentialsOptions options{
      .pem_root_certs = std::move(credentials->ca_pem),
      .pem_private_key = std::move(credentials->key_pem),
      .pem_cert_chain = std::move(credentials->certificate_pem)};
  // A host may have the name of a scheme; an address in brackets is no part of a URI for gRPC.
  const std::string target = address.starts_with('[') ? address : "dns:///" + address;
  return grpc::CreateCustomChannel(target, grpc::SslCredentials(options), arguments());
}

std::string explain(const grpc::Status& status, const std::string& where) {
  return is_of_transport(status) ? explain_lost(status, where) : own_words(status);
}

std::string explain(const grpc::Status& status, const std::string& address, const ClientTls& tls) {
  if (!is_of_transport(status)) return own_words(status);
  const auto host_port = parse_address(address);
  if (!host_port) return host_port.error().message;
  const Endpoint endpoint{.address = address, .host_port = *host_port, .tls = tls};
  if (status.error_message().starts_with("DNS resolution failed")) {
    return explain_unresolved(endpoint, "DNS");
  }
  // Who once was connected may have been heard: then it matters more what has become of the call.
  if (was_connected(status)) return explain_lost(status, address);
  if (auto cause = probe(endpoint)) return *std::move(cause);
  if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
    return explain_lost(status, address);
  }
  return say(endpoint,
             fmt::format("gRPC could not connect ({}), but a handshake has just succeeded",
                         printable(status.error_message())),
             "try again");
}

}  // namespace mc::admin
