// SPDX-License-Identifier: Apache-2.0
#include "admin/draining_servers.hpp"

#include <fmt/format.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel_posix.h>
#include <mc_proxy/internal/v1/draining.grpc.pb.h>
#include <mc_proxy/v1/admin.grpc.pb.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <system_error>
#include <thread>
#include <utility>

#include "admin/limits.hpp"
#include "admin/translate.hpp"
#include "base/descriptor_limit.hpp"

namespace mc::admin {

namespace api = mc_proxy::v1;
namespace internal = mc_proxy::internal::v1;

namespace {

using AdminStub = api::ProxyAdminService;
using DrainingStub = internal::DrainingService;

constexpr char kSeparator = '/';

void set_deadline(grpc::ClientContext& context, std::chrono::milliseconds from_now) {
  context.set_deadline(std::chrono::system_clock::now() + from_now);
}

std::string prefix_of(const lifecycle::DrainingPlace& place) {
  return fmt::format("{}{}", place.pid, kSeparator);
}

// The filter as that server takes it; nothing if it selects no connection there.
std::optional<api::ConnectionFilter> filter_for(const lifecycle::DrainingPlace& place,
                                                const api::ConnectionFilter& filter) {
  if (filter.id().empty()) return filter;
  const std::string prefix = prefix_of(place);
  if (!filter.id().starts_with(prefix)) return std::nullopt;
  api::ConnectionFilter own = filter;
  own.set_id(filter.id().substr(prefix.size()));
  return own;
}

// A server that does not have the listener of a filter has no such connections.
bool failed(const grpc::Status& status) {
  return !status.ok() && status.error_code() != grpc::StatusCode::NOT_FOUND;
}

// Its last connection may have ended between find and call.
bool has_ended(const lifecycle::DrainingPlace& place) {
  return !lifecycle::connect_to(place) && errno != EAGAIN;
}

grpc::Status unreachable(int error) {
  return {grpc::StatusCode::UNAVAILABLE, std::strerror(error)};
}

}  // namespace

bool is_of_draining_server(const std::string& connection_id) {
  return connection_id.contains(kSeparator);
}

std::vector<lifecycle::DrainingPlace> DrainingServers::places() const {
  return lifecycle::find_draining_places(database_path_);
}

void DrainingServers::call_each(const std::vector<Place>& places, const Call& call,
                                std::string_view failure) const {
  const auto call_one = [&](const Place& place) {
    Fd socket = open_for_operator([&place] { return lifecycle::connect_to(place); });
    const int error = errno;
    const grpc::Status status =
        socket ? call(place, grpc::CreateInsecureChannelFromFd("draining", socket.release()))
               : unreachable(error);
    if (status.ok() || has_ended(place)) return;
    const std::string why = status.error_message();
    const Log::Fields fields{{"draining", place.pid}, {"error", why}};
    failure.empty() ? log_.debug("a draining server does not reply", fields)
                    : log_.warn(failure, fields);
  };
  std::vector<std::jthread> calls;
  calls.reserve(places.size());
  for (const Place& place : places) {
    try {
      calls.emplace_back([&] { call_one(place); });
    } catch (const std::system_error&) {  // no thread can be made: then one after the other
      call_one(place);
    }
  }
}

std::vector<DrainingServers::Server> DrainingServers::look() const {
  const std::vector<Place> all = places();
  std::vector<Server> servers;
  servers.reserve(all.size());
  for (const Place& place : all) servers.push_back({.place = place, .status = std::nullopt});
  call_each(all, [&](const Place& place, const std::shared_ptr<grpc::Channel>& channel) {
    grpc::ClientContext context;
    set_deadline(context, kDrainingReplyMax);
    api::GetStatusResponse response;
    const grpc::Status status =
        AdminStub::NewStub(channel)->GetStatus(&context, api::GetStatusRequest(), &response);
    // Each call writes only its own element.
    if (status.ok()) servers[static_cast<std::size_t>(&place - all.data())].status = response;
    return status;
  });
  return servers;
}

std::size_t DrainingServers::count() const { return places().size(); }

std::vector<lifecycle::DrainingPlace> DrainingServers::that_reply() const {
  std::vector<Place> replying;
  for (Server& server : look()) {
    if (server.status.has_value()) {
      replying.push_back(std::move(server.place));
    } else {
      log_.warn("a draining server does not reply; its connections are neither listed nor closed",
                {{"draining", server.place.pid}});
    }
  }
  return replying;
}

namespace {

// A server from before there were pools ignores that part of a filter, and has no such connections.
void keep_pool(const std::string& pool, api::ListConnectionsResponse& message) {
  if (pool.empty()) return;
  auto& rows = *message.mutable_connections();
  const auto begin_others = std::remove_if(
      rows.begin(), rows.end(), [&pool](const api::Connection& one) { return one.pool() != pool; });
  rows.erase(begin_others, rows.end());
}

// Whether it may be asked to close by the filter: such a server would close connections of no pool.
bool minds_pool(AdminStub::Stub& stub, const api::ConnectionFilter& filter) {
  if (filter.pool().empty()) return true;
  grpc::ClientContext context;
  set_deadline(context, kListingWaitMax);
  api::ListConnectionsRequest request;
  *request.mutable_filter() = filter;
  const auto reader = stub.ListConnections(&context, request);
  api::ListConnectionsResponse first;
  const bool has_found = reader->Read(&first) && first.connections_size() > 0;
  context.TryCancel();
  static_cast<void>(reader->Finish());
  return has_found && first.connections(0).pool() == filter.pool();
}

}  // namespace

void DrainingServers::list(const api::ListConnectionsRequest& request, const Take& take) const {
  for (const Place& place : that_reply()) {
    const auto filter = filter_for(place, request.filter());
    Fd socket = filter.has_value()
                    ? open_for_operator([&place] { return lifecycle::connect_to(place); })
                    : Fd();
    if (!socket) continue;
    grpc::ClientContext context;
    set_deadline(context, kListingWaitMax);
    api::ListConnectionsRequest own;
    *own.mutable_filter() = *filter;
    const auto stub =
        AdminStub::NewStub(grpc::CreateInsecureChannelFromFd("draining", socket.release()));
    const auto reader = stub->ListConnections(&context, own);
    api::ListConnectionsResponse message;
    while (reader->Read(&message)) {
      keep_pool(request.filter().pool(), message);
      for (int i = 0; i < message.connections_size(); ++i) {
        api::Connection& one = *message.mutable_connections(i);
        one.set_id(prefix_of(place) + one.id());
      }
      if (take(message)) continue;
      context.TryCancel();
      static_cast<void>(reader->Finish());
      return;
    }
    if (const grpc::Status status = reader->Finish(); failed(status)) {
      log_.warn("not all connections of a draining server are listed",
                {{"draining", place.pid}, {"error", status.error_message()}});
    }
  }
}

std::uint64_t DrainingServers::close(const api::CloseConnectionsRequest& request) const {
  std::atomic<std::uint64_t> closed{0};
  const auto close = [&](const Place& place, const std::shared_ptr<grpc::Channel>& channel) {
    const auto filter = filter_for(place, request.filter());
    if (!filter.has_value()) return grpc::Status::OK;
    const auto stub = AdminStub::NewStub(channel);
    if (!minds_pool(*stub, *filter)) return grpc::Status::OK;
    grpc::ClientContext context;
    set_deadline(context, kDrainingCloseMax);
    api::CloseConnectionsRequest own = request;
    *own.mutable_filter() = *filter;
    api::CloseConnectionsResponse response;
    const grpc::Status status = stub->CloseConnections(&context, own, &response);
    closed += response.closed();
    return failed(status) ? status : grpc::Status::OK;
  };
  call_each(that_reply(), close, "a draining server did not close all of its connections");
  return closed;
}

void DrainingServers::cut(const std::vector<control::Rule>& rules) const {
  internal::CutConnectionsRequest request;
  for (const control::Rule& rule : rules) to_api(rule, *request.add_rules());
  const auto cut = [&](const Place&, const std::shared_ptr<grpc::Channel>& channel) {
    grpc::ClientContext context;
    set_deadline(context, kDrainingReplyMax);
    internal::CutConnectionsResponse response;
    return DrainingStub::NewStub(channel)->CutConnections(&context, request, &response);
  };
  call_each(places(), cut,
            "a draining server did not reset the connections that the new rules cover");
}

void DrainingServers::stop(std::chrono::milliseconds within) const { stop(places(), within); }

void DrainingServers::stop(const std::vector<Place>& places,
                           std::chrono::milliseconds within) const {
  internal::StopRequest request;
  *request.mutable_within() = to_duration(within);
  const auto order = [&](const Place&, const std::shared_ptr<grpc::Channel>& channel) {
    grpc::ClientContext context;
    set_deadline(context, kDrainingReplyMax);
    internal::StopResponse response;
    return DrainingStub::NewStub(channel)->Stop(&context, request, &response);
  };
  call_each(places, order, "a draining server cannot be stopped; end it with kill");
}

void DrainingServers::keep_to(std::size_t most, std::chrono::milliseconds within) const {
  std::vector<Place> all = places();
  if (all.size() <= most) return;
  all.resize(all.size() - most);
  for (const Place& place : all) {
    log_.warn("too many draining servers: the oldest has shutdown_timeout to end",
              {{"draining", place.pid}, {"most", most}, {"shutdown_timeout", within}});
  }
  stop(all, within);
}

}  // namespace mc::admin
