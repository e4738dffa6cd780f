// SPDX-License-Identifier: Apache-2.0
#pragma once
// The servers of this database that have been succeeded and still have connections, as the one that
// serves reaches them: through a socket of each (lifecycle/draining_place.hpp). Looked for anew
// with each call, so a server that starts after a crash finds them too. Each of them has
// kDrainingReplyMax to reply; one that does not is reported, and holds up nobody for longer. Any
// thread.

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
  /// How many there are, replying or not.
  [[nodiscard]] std::size_t count() const;

  /// Whether the caller goes on; a message more.
  using Take = std::function<bool(const mc_proxy::v1::ListConnectionsResponse&)>;
  /// Passes on what ListConnections returns of each, with the ids as they are known here:
  /// "4711/0-17". A filter with such an id goes to that server alone, and one with an id of this
  /// server's own to none. One that does not know the filter's listener has no such connections.
  void list(const mc_proxy::v1::ListConnectionsRequest& request, const Take& take) const;
  /// How many connections CloseConnections has closed, or with dry_run would, likewise.
  [[nodiscard]] std::uint64_t close(const mc_proxy::v1::CloseConnectionsRequest& request) const;

  /// Resets the connections of the clients that these rules cover. Where that fails, logs it.
  void cut(const std::vector<control::Rule>& rules) const;
  /// Their connections may go on for so long.
  void stop(std::chrono::milliseconds within) const;
  /// Stops the oldest of those beyond `most` in this way, and logs it.
  void keep_to(std::size_t most, std::chrono::milliseconds within) const;

 private:
  using Place = lifecycle::DrainingPlace;
  using Call = std::function<grpc::Status(const Place&, const std::shared_ptr<grpc::Channel>&)>;

  [[nodiscard]] std::vector<Place> places() const;
  /// Calls all of them side by side, and returns when the last has replied. Logs failures, with
  /// these words at warn.
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
