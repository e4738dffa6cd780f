// SPDX-License-Identifier: Apache-2.0
#pragma once
// The data of `mc-proxy top`, gathered by its own threads: one polls the server, one watches for
// backends that fail. The drawing thread takes the latest picture and never waits for the server.

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "cli/client.hpp"
#include "cli/commands.hpp"

namespace mc::cli {

/// A number of connections with something in common.
struct TopGroup {
  std::string name;
  std::uint64_t connections = 0;  // open now
  double up = 0;                  // bytes a second, from clients to backends
  double down = 0;                // and back
};

struct FailingBackend {
  std::string backend;
  std::uint64_t failures = 0;  // in the last minute
  std::string reason;          // of the last one
  std::chrono::seconds ago{};  // likewise
};

/// The server at one moment. Rates are since the moment before; zero for the first one.
struct TopPicture {
  bool has_status = false;
  bool has_rates = false;
  mc_proxy::v1::GetStatusResponse status;
  double accepted = 0, refused = 0, dial_failures = 0;  // connections a second
  double up = 0, down = 0;                              // bytes a second
  std::chrono::milliseconds every{};                    // how far moments are apart
  std::vector<TopGroup> listeners, names, sources;
};

/// Everything to show.
struct TopNews {
  std::shared_ptr<const TopPicture> picture = std::make_shared<const TopPicture>();  // the latest
  std::string trouble;  // why there is no newer one; empty: all is well
  std::vector<FailingBackend> failing;
  std::string failing_trouble;  // why they are unknown; empty: they are known
};

class TopSampler {
 public:
  /// Starts. Uses `client` first; makes others from `options`.
  TopSampler(ClientOptions options, Client client, std::chrono::milliseconds every);
  TopSampler(const TopSampler&) = delete;
  TopSampler& operator=(const TopSampler&) = delete;

  [[nodiscard]] TopNews latest() const;
  /// Waits for a picture with rates, or for an error.
  [[nodiscard]] TopNews first();

 private:
  // A connection's bytes at the moment before, and when it was seen.
  struct Moved {
    std::uint64_t up = 0, down = 0;
    std::uint64_t sample = 0;
  };
  struct Groups {
    std::map<std::string, TopGroup> by_listener, by_name, by_source;
    double up = 0, down = 0;  // bytes since the moment before, of connections that are open
  };
  // Dial failures of one second.
  struct Second {
    std::chrono::steady_clock::time_point begin;
    std::map<std::string, std::uint64_t> failures;  // by backend
  };

  void sample_again_and_again(const std::stop_token& stop);
  std::optional<std::string> sample(const std::stop_token& stop);
  grpc::Status list(const std::stop_token& stop, Groups& groups);
  void add(const mc_proxy::v1::Connection& connection, Groups& groups);
  void publish(const mc_proxy::v1::GetStatusResponse& status, const Groups& groups,
               std::chrono::steady_clock::time_point now);
  void rest(const std::stop_token& stop, std::chrono::milliseconds time);

  void watch_again_and_again(const std::stop_token& stop);
  std::string watch(const std::stop_token& stop);
  void take(const mc_proxy::v1::DialFailed& failed, std::chrono::steady_clock::time_point when);
  [[nodiscard]] std::vector<FailingBackend> failing() const;

  const ClientOptions options_;
  const std::chrono::milliseconds every_;

  // The sampling thread's own.
  std::optional<Client> client_;
  std::unordered_map<std::string, Moved> moved_;  // by connection
  std::uint64_t samples_ = 0;
  mc_proxy::v1::GetStatusResponse status_before_;
  std::chrono::steady_clock::time_point sampled_;
  std::chrono::milliseconds pause_;

  // The watching thread's own.
  std::chrono::nanoseconds failure_seen_{};  // the time of the last one, by the server's clock

  mutable std::mutex lock_;  // of what follows
  std::condition_variable_any changed_;
  std::shared_ptr<const TopPicture> picture_ = std::make_shared<const TopPicture>();
  std::string trouble_;
  std::deque<Second> seconds_;                  // of the last minute
  std::map<std::string, std::string> reasons_;  // by backend, the last one
  std::string failing_trouble_;
  bool has_watched_ = false;  // a watch has begun, or could not

  std::jthread sampling_, watching_;  // end first
};

}  // namespace mc::cli
