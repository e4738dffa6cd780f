// SPDX-License-Identifier: Apache-2.0
#include "admin/server.hpp"

#include <fmt/format.h>
#include <google/protobuf/stubs/logging.h>
#include <grpc/grpc.h>
#include <grpc/health/v1/health.pb.h>
#include <grpc/support/log.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/server_builder.h>

#include <mutex>
#include <utility>

#include "admin/limits.hpp"

namespace mc::admin {
namespace {

// gRPC has one log function for the whole process, so this alone cannot be passed by reference. Its
// threads outlive a server, and may be writing a line when the log ends: a writer holds the mutex.
std::mutex log_of_grpc_mutex;
Log* log_of_grpc = nullptr;

void write_for_grpc(gpr_log_func_args* line) {
  const std::lock_guard lock(log_of_grpc_mutex);
  if (log_of_grpc == nullptr) return;
  if (line->severity == GPR_LOG_SEVERITY_ERROR) {
    log_of_grpc->warn("gRPC", {{"message", line->message}});
  } else {
    log_of_grpc->debug("gRPC", {{"message", line->message}});
  }
}

// protobuf's errors about malformed messages, which it would write to stderr itself.
void write_for_protobuf(google::protobuf::LogLevel, const char*, int, const std::string& message) {
  const std::lock_guard lock(log_of_grpc_mutex);
  if (log_of_grpc != nullptr) log_of_grpc->debug("protobuf", {{"message", message}});
}

void follow_log_level(const Log& log) {
  gpr_set_log_verbosity(log.enabled(LogLevel::kDebug) ? GPR_LOG_SEVERITY_INFO
                                                      : GPR_LOG_SEVERITY_ERROR);
}

void let_grpc_write_to(Log* log) {
  const std::lock_guard lock(log_of_grpc_mutex);
  log_of_grpc = log;
}

void prepare_grpc(Log& log) {
  let_grpc_write_to(&log);
  gpr_set_log_function(write_for_grpc);
  follow_log_level(log);
  static std::once_flag once;
  std::call_once(once, [] {
    // Never shut down: gRPC would wait up to 10 s for its poller if a socket was full once.
    grpc_init();
    google::protobuf::SetLogHandler(write_for_protobuf);
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    // Links the descriptor in, for reflection to find by name.
    grpc::health::v1::HealthCheckRequest::descriptor();
  });
}

}  // namespace

Result<std::unique_ptr<Server>> Server::start(ServerOptions options, control::Control& control,
                                              traffic::LiveTraffic& traffic, Log& log) {
  prepare_grpc(log);
  std::unique_ptr<Server> server(new Server(control, traffic, log));
  if (auto listening = server->listen(std::move(options)); !listening.has_value()) {
    return std::unexpected(std::move(listening.error()));
  }
  server->tick();
  return server;
}

Result<void> Server::open_local(ServerOptions& options) {
  auto local = options.inherited_local
                   ? LocalSocket::adopt(options.socket, std::move(options.inherited_local))
                   : LocalSocket::open(options.socket);
  if (!local.has_value()) return std::unexpected(local.error());
  local_ = *std::move(local);
  return {};
}

Result<void> Server::open_tcp(ServerOptions& options) {
  auto certificates = CertificateFiles::load(options.certificates);
  if (!certificates.has_value()) return std::unexpected(certificates.error());
  certificates_ = *std::move(certificates);
  auto tcp = options.inherited_tcp
                 ? TcpListener::adopt(*options.addr, std::move(options.inherited_tcp))
                 : TcpListener::open(*options.addr);
  if (!tcp.has_value()) return std::unexpected(tcp.error());
  tcp_ = *std::move(tcp);
  return {};
}

Result<void> Server::listen(ServerOptions options) {
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(rpc::kMessageBytesMax);
  builder.SetMaxSendMessageSize(rpc::kMessageBytesMax);
  builder.SetSyncServerOption(grpc::ServerBuilder::NUM_CQS, 1);
  builder.SetResourceQuota(
      grpc::ResourceQuota("admin").SetMaxThreads(kThreadsMax).Resize(kCallBytesMax));
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS,
                             static_cast<int>(options.handshake_max.count()));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS,
                             static_cast<int>(options.idle_max.count()));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, static_cast<int>(kKeepaliveTime.count()));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                             static_cast<int>(kKeepaliveWaitMax.count()));

  if (!options.socket.empty()) {
    if (auto opened = open_local(options); !opened.has_value()) return opened;
  }
  if (options.addr.has_value()) {
    if (auto opened = open_tcp(options); !opened.has_value()) return opened;
    tcp_door_ = builder.experimental().AddExternalConnectionAcceptor(
        grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
        certificates_->server_credentials());
  }
  service_ = std::make_unique<Service>(control_, traffic_, local_.get(), options.draining,
                                       options.version, log_);
  builder.RegisterService(service_.get());
  if (options.stop) {
    draining_service_ = std::make_unique<DrainingService>(control_, std::move(options.stop));
    builder.RegisterService(draining_service_.get());
  } else {
    remove_left_snapshots(control_.database_path());
  }
  server_ = builder.BuildAndStart();
  if (server_ == nullptr) return fail("admin API: gRPC cannot start its server");
  resume();
  return {};
}

void Server::suspend() {
  if (local_ != nullptr) local_->suspend();
  if (tcp_ != nullptr) tcp_->suspend();
}

void Server::resume() {
  if (local_ != nullptr) local_->serve(*server_);
  if (tcp_ != nullptr) tcp_->serve(*tcp_door_);
}

void Server::own() {
  if (local_ != nullptr) local_->own();
}

void Server::leave() {
  if (local_ != nullptr) local_->leave();
}

std::vector<int> Server::sockets() const {
  std::vector<int> fds;
  if (local_ != nullptr) fds.push_back(local_->fd());
  if (tcp_ != nullptr) fds.push_back(tcp_->fd());
  return fds;
}

Server::~Server() {
  // First: they hand connections to the server, which would not close late ones.
  if (local_ != nullptr) local_->close();
  if (tcp_ != nullptr) tcp_->close();
  if (service_ != nullptr) service_->end_streams();
  if (server_ != nullptr) {
    server_->Shutdown(std::chrono::system_clock::now() + kShutdownGrace);
    server_->Wait();
  }
  let_grpc_write_to(nullptr);
}

std::optional<SocketAddress> Server::tcp_address() const {
  return tcp_ != nullptr ? std::optional(tcp_->address()) : std::nullopt;
}

std::optional<std::chrono::sys_seconds> Server::certificate_expires_at() const {
  return certificates_ != nullptr ? std::optional(expires_at_.load()) : std::nullopt;
}

void Server::tick() {
  report_health();
  follow_log_level(log_);
  if (certificates_ == nullptr) return;
  follow_certificates();
  expires_at_ = certificates_->expires_at();
  warn_of_expiry();
}

void Server::report_health() {
  const bool healthy = !control_.stopping() && traffic_.accepting();
  if (std::exchange(healthy_, healthy) == healthy) return;
  auto* const health = server_->GetHealthCheckService();
  health->SetServingStatus("", healthy);
  health->SetServingStatus(mc_proxy::v1::ProxyAdminService::service_full_name(), healthy);
}

void Server::follow_certificates() {
  const auto renewal = certificates_->refresh();
  if (!renewal.has_value()) return;
  if (!renewal->has_value()) {
    log_.error("certificate not renewed; the one in force stays",
               {{"error", renewal->error().message}});
    return;
  }
  expiry_told_ = {};
  log_.info("certificate renewed", {{"subject", (*renewal)->subject},
                                    {"expires", rpc::format_time((*renewal)->expires_at)}});
}

void Server::warn_of_expiry() {
  const auto now = std::chrono::system_clock::now();
  const auto today = std::chrono::floor<std::chrono::days>(now);
  if (today == expiry_told_ || certificates_->expires_at() > now + kExpiryWarning) return;
  expiry_told_ = today;
  const bool expired = certificates_->expires_at() <= now;
  log_.warn(expired ? "the admin API's certificate has expired: clients refuse it; copy a new "
                      "certificate and key over the old files, no restart is needed"
                    : "the admin API's certificate expires soon",
            {{"subject", certificates_->subject()},
             {"expires", rpc::format_time(certificates_->expires_at())}});
}

}  // namespace mc::admin
