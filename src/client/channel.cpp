// SPDX-License-Identifier: Apache-2.0
#include "client/channel.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/security/credentials.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/fd.hpp"
#include "base/owner.hpp"
#include "base/quote.hpp"
#include "client/host_port.hpp"
#include "client/limits.hpp"
#include "net/unix_socket.hpp"
#include "rpc/credentials.hpp"
#include "rpc/limits.hpp"

namespace mc::client {
namespace {

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

/// With the unit installed, names systemctl: root would otherwise start a second server by hand.
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
      fmt::format("admin socket {}: the file there is not a socket; correct grpc.socket, or remove "
                  "the file and restart the server",
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
          fmt::format("admin socket {}: uid {} has no permission to connect to it; run this as {}",
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

// ---- from a status to a text

/// Messages of gRPC 1.51 itself, when it has no connection or loses it. Any other message is the
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
        "server {}: no reply in time; check in its log (journalctl -u mc-proxy) whether the change "
        "was made before you try again",
        quote(where));
  }
  return fmt::format(
      "server {}: it has closed the connection ({}), so it was stopped or has crashed; check in "
      "its log (journalctl -u mc-proxy) whether the change was made before you try again",
      quote(where), printable(status.error_message()));
}

// ---- channels

Result<void> check_dates(const ClientTls& tls, const rpc::CertificateInfo& certificate) {
  const auto now = std::chrono::system_clock::now();
  const auto fail_with = [&](std::string_view problem, std::chrono::sys_seconds time,
                             std::string_view remedy) {
    return fail(fmt::format("client certificate {}: {} {} ({}); {}", quote(tls.certificate),
                            problem, rpc::format_time(time), certificate.subject, remedy));
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
  arguments.SetMaxReceiveMessageSize(rpc::kMessageBytesMax);
  arguments.SetMaxSendMessageSize(rpc::kMessageBytesMax);
  // gRPC would use the proxy of $http_proxy, even for this machine.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return arguments;
}

}  // namespace

Result<std::shared_ptr<grpc::Channel>> connect_local(const LocalServer& server) {
  if (server.socket.empty() || server.socket.size() > net::kUnixPathMax) {
    return fail_to_connect(server, ENAMETOOLONG);
  }
  Fd connection = net::new_unix_socket(SOCK_STREAM, kLocalConnectWaitMax);
  if (!connection || !net::connect_unix(connection.get(), server.socket)) {
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
  const auto host_port = HostPort::parse(address);
  if (!host_port) return std::unexpected(host_port.error());
  auto credentials = rpc::read_credentials(
      {.certificate = tls.certificate, .key = tls.key, .client_ca = tls.ca}, rpc::Side::kClient);
  if (!credentials) return std::unexpected(std::move(credentials.error()));
  if (const auto dates = check_dates(tls, credentials->info); !dates) {
    return std::unexpected(dates.error());
  }
  const grpc::SslCredentialsOptions options{
      .pem_root_certs = std::move(credentials->ca_pem),
      .pem_private_key = std::move(credentials->key_pem),
      .pem_cert_chain = std::move(credentials->certificate_pem)};
  // With "dns:///", gRPC does not take a host's name for a URI scheme. It does not accept an
  // address in brackets in a URI.
  const std::string target = address.starts_with('[') ? address : "dns:///" + address;
  return grpc::CreateCustomChannel(target, grpc::SslCredentials(options), arguments());
}

std::string explain(const grpc::Status& status, const std::string& where) {
  return is_of_transport(status) ? explain_lost(status, where) : own_words(status);
}

std::string explain(const grpc::Status& status, const std::string& address, const ClientTls& tls) {
  if (!is_of_transport(status)) return own_words(status);
  const auto host_port = HostPort::parse(address);
  if (!host_port) return host_port.error().message;
  const Endpoint endpoint{.address = address, .host_port = *host_port, .tls = tls};
  if (status.error_message().starts_with("DNS resolution failed")) {
    return explain_unresolved(endpoint, "DNS");
  }
  // The server may have received the call: then its outcome matters more than the lost connection.
  if (was_connected(status)) return explain_lost(status, address);
  if (auto cause = probe_handshake(endpoint)) return *std::move(cause);
  if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
    return explain_lost(status, address);
  }
  return explain(endpoint,
                 fmt::format("gRPC could not connect ({}), but a handshake has just succeeded",
                             printable(status.error_message())),
                 "try again");
}

}  // namespace mc::client
