// SPDX-License-Identifier: Apache-2.0
#include "cli/client.hpp"

#include <fmt/format.h>
#include <google/protobuf/stubs/logging.h>
#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>
#include <grpc/support/log.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "base/quote.hpp"
#include "client/channel.hpp"
#include "config/config.hpp"

namespace mc::cli {
namespace {

std::unexpected<Client::Failure> give_up(std::string why, int code) {
  return std::unexpected(Client::Failure{std::move(why), code});
}

// The configuration's admin API. Only this part of the file is needed: the running server has read
// the file long ago, and most calls come when something is wrong.
std::expected<config::Grpc, Client::Failure> find_api(const ClientOptions& options) {
  config::Whereabouts found = config::locate_server(options.config_path);
  const bool is_default = options.config_path == kDefaultConfigPath;
  if (!found.problems.empty() && !found.grpc.has_value() && is_default &&
      ::access(kDefaultSocket, F_OK) == 0) {
    found.grpc.emplace().socket = kDefaultSocket;
  }
  if (found.grpc.has_value()) {
    if (!found.problems.empty()) {
      complain(
          fmt::format("mc-proxy: note: {} cannot be used (`mc-proxy check` shows why); using the "
                      "server at {} anyway",
                      options.config_path, found.grpc->socket));
    }
    return *std::move(found.grpc);
  }
  if (found.problems.empty()) {
    return give_up(fmt::format("{}: there is no [grpc], so the server has no admin API; add [grpc] "
                               "socket = \"/run/mc-proxy/admin.sock\" and restart it",
                               options.config_path),
                   kFailed);
  }
  // The configuration and its socket belong to the server; the caller is another user.
  if (::access(options.config_path.c_str(), R_OK) != 0 && errno == EACCES) {
    return give_up(fmt::format("{}: the file cannot be read: Permission denied; run this as root "
                               "or as the server's user",
                               options.config_path),
                   kFailed);
  }
  return give_up(config::to_string(found.problems) +
                     "mc-proxy: a running server can be reached without the file: --socket PATH\n",
                 kFailed);
}

}  // namespace

std::expected<Client, int> Client::connect(const ClientOptions& options) {
  auto client = open(options);
  if (client.has_value()) return *std::move(client);
  complain("mc-proxy: " + client.error().message);
  return std::unexpected(client.error().code);
}

std::expected<Client, Client::Failure> Client::open(const ClientOptions& options) {
  gpr_set_log_function([](gpr_log_func_args*) {});  // the messages here have what matters of it
  google::protobuf::SetLogHandler(nullptr);
  Client client;
  client.options_ = options;
  client.where_ = options.address;
  std::string socket = options.socket;
  if (options.address.empty() && socket.empty()) {
    auto found = find_api(options);
    if (!found.has_value()) return std::unexpected(found.error());
    socket = found->socket;
    if (found->addr.has_value()) client.where_ = found->addr->to_string();
  }
  // With a certificate the caller wants to be identified by it.
  client.local_ = !socket.empty() && options.certificate.empty();
  if (client.local_) client.where_ = socket;
  if (!client.local_ && client.where_.empty()) {
    return give_up(fmt::format("{}: certificates are for TCP, and there is no grpc.addr; leave out "
                               "--ca, --cert and --key for the socket, or give --address",
                               options.config_path),
                   kUsage);
  }
  if (!client.local_ && options.certificate.empty()) {
    return give_up(fmt::format("the server at {} requires a client certificate: give --ca, --cert "
                               "and --key, or on its own machine add [grpc] socket",
                               client.where_),
                   kUsage);
  }
  const char* const unit = options.config_path == kDefaultConfigPath ? kUnit : "";
  auto channel = client.local_ ? client::connect_local({socket, options.config_path, unit})
                               : client::connect_tls(
                                     client.where_, {options.ca, options.certificate, options.key});
  if (!channel.has_value()) return give_up(channel.error().message, kUnreachable);
  client.stub_ = mc_proxy::v1::ProxyAdminService::NewStub(*channel);
  return client;
}

int Client::fail(const grpc::Status& status, const FieldName& name) const {
  google::rpc::Status details;
  google::rpc::BadRequest bad_request;
  if (details.ParseFromString(status.error_details()) && details.details_size() > 0 &&
      details.details(0).UnpackTo(&bad_request)) {
    for (const auto& violation : bad_request.field_violations()) {
      const std::string field = name ? name(violation.field()) : violation.field();
      complain(fmt::format("mc-proxy: {}: {}", field, violation.description()));
    }
    return kFailed;
  }
  std::string why = explain(status);
  // "changes[3]: " is an index into a request that the user did not write.
  if (name && why.starts_with("changes[")) why.erase(0, why.find(": ") + 2);
  complain("mc-proxy: " + why);
  const bool unreachable = status.error_code() == grpc::StatusCode::UNAVAILABLE ||
                           status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED;
  return unreachable ? kUnreachable : kFailed;
}

std::string Client::explain(const grpc::Status& status) const {
  return local_
             ? client::explain(status, where_)
             : client::explain(status, where_, {options_.ca, options_.certificate, options_.key});
}

std::expected<std::string, int> Client::listener_or_only(const std::string& listener) {
  if (!listener.empty()) return listener;
  mc_proxy::v1::GetStatusResponse status;
  const grpc::Status asked = call(&Stub::GetStatus, mc_proxy::v1::GetStatusRequest(), status);
  if (!asked.ok()) return std::unexpected(fail(asked));
  std::vector<std::string> routed;
  for (const auto& one : status.listeners()) {
    if (!one.only_redirects()) routed.push_back(one.addr());
  }
  if (routed.size() == 1) return routed.front();
  std::string names;
  for (const std::string& name : routed) names += (names.empty() ? "" : ", ") + quote(name);
  complain(
      fmt::format("mc-proxy: which listener? The server has {}; name one with --listener", names));
  return std::unexpected(int{kUsage});
}

bool is_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

bool all_ascii(std::initializer_list<std::string_view> texts) {
  for (const std::string_view text : texts) {
    if (is_ascii(text)) continue;
    complain(
        fmt::format("mc-proxy: {}: write ASCII; a name in another script has an ASCII form "
                    "that begins with xn--",
                    quote(text)));
    return false;
  }
  return true;
}

}  // namespace mc::cli
