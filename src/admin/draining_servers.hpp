// SPDX-License-Identifier: Apache-2.0
#pragma once
// The servers of this database that have handed over and still have connections, as the serving one
// reaches them: through a socket of each (lifecycle/draining_place.hpp). Each call finds them
// again, so a server that starts after a crash finds them too. Each has kDrainingReplyMax to reply;
// one that does not is reported, and delays the others no longer. Any thread.

#include <grpcpp/channel.h>
#include <grpcpp/support/status.h>
#include <mc_proxy/v1/admin.pb.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/log.hpp"
#include "control/rule_set.hpp"
#include "lifecycle/draining_place.hpp"

namespace mc::admin {

class DrainingServers {
 public:
  /// `log` outlives it.
  DrainingServers(std::string database_path, Log& log)
      : database_path_(std::move(database_path)), log_(log) {}

  struct Server {
    lifecycle::DrainingPlace place;
    /// Nothing: it did not reply.
    std::optional<mc_proxy::v1::GetStatusResponse> status;
  };
  /// The oldest first.
  [[nodiscard]] std::vector<Server> look() const;
  /// Their number, with those that do not reply.
  [[nodiscard]] std::size_t count() const;

  /// Gets one more message; returns whether to continue.
  using Take = std::function<bool(const mc_proxy::v1::ListConnectionsResponse&)>;
  /// Passes on the ListConnections messages of each, with ids as this server shows them:
  /// "4711/0-17". A filter with such an id goes to that server alone; one with an id of this
  /// server's own goes to none. A server without the filter's listener has no such connections.
  void list(const mc_proxy::v1::ListConnectionsRequest& request, const Take& take) const;
  /// How many connections CloseConnections has closed, or would close with dry_run, likewise.
  [[nodiscard]] std::uint64_t close(const mc_proxy::v1::CloseConnectionsRequest& request) const;

  /// Resets the connections of the clients that these rules cover. Logs failures.
  void cut(const std::vector<control::Rule>& rules) const;
  /// Gives their connections this long to end.
  void stop(std::chrono::milliseconds within) const;
  /// Stops the oldest of those beyond `most` in this way, and logs it.
  void keep_to(std::size_t most, std::chrono::milliseconds within) const;

 private:
  using Place = lifecycle::DrainingPlace;
  using Call = std::function<grpc::Status(const Place&, const std::shared_ptr<grpc::Channel>&)>;

  [[nodiscard]] std::vector<Place> places() const;
  /// Calls all of them in parallel, and returns when the last has replied. Logs failures as
  /// warnings, with this text.
  void call_each(const std::vector<Place>& places, const Call& call,
                 std::string_view failure = {}) const;
  void stop(const std::vector<Place>& places, std::chrono::milliseconds within) const;
  /// Those that reply; logs the others.
  [[nodiscard]] std::vector<Place> that_reply() const;

  const std::string database_path_;
  Log& log_;
};

/// Whether the id names a connection of a server that drains.
bool is_of_draining_server(const std::string& connection_id);

}  // namespace mc::admin
