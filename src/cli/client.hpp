// SPDX-License-Identifier: Apache-2.0
#pragma once
// The common part of the commands that call a running server: find it, call it, and report to a
// person why that failed. One thread.

#include <grpcpp/client_context.h>
#include <mc_proxy/v1/admin.grpc.pb.h>

#include <chrono>
#include <expected>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>

#include "cli/complain.hpp"

namespace mc::cli {

inline constexpr const char* kDefaultConfigPath = "/srv/mc-proxy/mc-proxy.toml";
/// The admin API's socket in the configuration that the package suggests.
inline constexpr const char* kDefaultSocket = "/run/mc-proxy/admin.sock";
/// The systemd unit that runs a server with it.
inline constexpr const char* kUnit = "mc-proxy";

/// How the commands that call a running server find it, and how they print.
struct ClientOptions {
  std::string config_path = kDefaultConfigPath;
  /// "host:port" of a server elsewhere, which needs the three files; empty: the socket of the
  /// configuration.
  std::string address;
  /// The path of the server's Unix socket; empty: that of the configuration.
  std::string socket;
  std::string ca, certificate, key;
  bool json = false;
};

class Client {
 public:
  using Stub = mc_proxy::v1::ProxyAdminService::Stub;

  /// Why something failed, and the exit code for it.
  struct Failure {
    std::string message;
    int code;
  };

  /// The server that the options name. On an error it has printed it, and returns the exit code.
  static std::expected<Client, int> connect(const ClientOptions& options);
  /// The same, but the caller prints the error.
  static std::expected<Client, Failure> open(const ClientOptions& options);

  /// One call: `client.call(&Stub::AddRoute, request, response)`.
  template <class Request, class Response>
  grpc::Status call(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                    const Request& request, Response& response) {
    grpc::ClientContext context;
    // Requests for a change have if_revision; the others get a reply at once or not at all.
    constexpr bool kReads = !requires { request.if_revision(); };
    context.set_deadline(std::chrono::system_clock::now() +
                         (kReads ? kReadWaitMax : kChangeWaitMax));
    return (stub_.get()->*method)(&context, request, &response);
  }

  /// A call whose reply is a stream: `client.read(&Stub::ListConnections, request, take)`. `take`
  /// gets each message; once it returns false the rest is dropped, and the status is OK. There is
  /// no deadline: another thread can cancel `context`.
  template <class Request, class Response>
  grpc::Status read(std::unique_ptr<grpc::ClientReader<Response>> (Stub::*method)(
                        grpc::ClientContext*, const Request&),
                    const Request& request,
                    const std::type_identity_t<std::function<bool(const Response&)>>& take,
                    grpc::ClientContext& context) {
    const auto reader = (stub_.get()->*method)(&context, request);
    Response message;
    while (reader->Read(&message)) {
      if (take(message)) continue;
      context.TryCancel();
      static_cast<void>(reader->Finish());
      return grpc::Status::OK;
    }
    return reader->Finish();
  }

  /// Why the call failed, in one line.
  [[nodiscard]] std::string explain(const grpc::Status& status) const;

  /// The name of a request's field where the user wrote it.
  using FieldName = std::function<std::string(const std::string& field)>;

  /// Prints why the call failed, one line for each field that the server names; returns the exit
  /// code.
  int fail(const grpc::Status& status, const FieldName& name = {}) const;

  /// `listener`, or if it is empty the server's only one. On an error it has printed it.
  std::expected<std::string, int> listener_or_only(const std::string& listener);

 private:
  Client() = default;

  static constexpr std::chrono::seconds kReadWaitMax{10};
  // Longer than the largest batch takes on a slow disk; a person can stop waiting earlier.
  static constexpr std::chrono::seconds kChangeWaitMax{120};

  std::unique_ptr<Stub> stub_;
  ClientOptions options_;
  std::string where_;  // the socket or the address, for messages
  bool local_ = true;
};

/// Names, addresses and codes are ASCII; other bytes may not even fit into a request.
bool is_ascii(std::string_view text);
/// Whether all of them are. If not, it has printed that.
bool all_ascii(std::initializer_list<std::string_view> texts);

}  // namespace mc::cli
