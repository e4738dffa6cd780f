// SPDX-License-Identifier: Apache-2.0
#pragma once
// The way to the name servers: c-ares (1.18 or newer), with its sockets polled by us. A query asks
// the hosts file first, then the name servers. Belongs to one thread at a time. Never calls
// bind(2), and writes no file. A TCP connection that breaks raises SIGPIPE, which the process must
// ignore.

#include <poll.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "dns/names.hpp"
#include "dns/reply.hpp"
#include "dns/settings.hpp"

struct ares_addrinfo;
struct ares_channeldata;

namespace mc::dns {

class Channel {
 public:
  struct Finished {
    Query query;
    Replies replies;
  };

  /// Reads resolv.conf. It may be absent (the name server is then 127.0.0.1), but not unreadable.
  static Result<std::unique_ptr<Channel>> open(const Settings& settings);
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;
  /// Queries under way come to nothing.
  ~Channel();

  /// Begins a query; it may end at once. A name with a dot is absolute. One without is looked for
  /// in the search domains first: a container's or a cluster's short names work.
  void ask(Query query);
  [[nodiscard]] std::size_t under_way() const { return under_way_; }
  [[nodiscard]] bool has_finished() const { return !finished_.empty(); }
  /// Those that ended since the last call.
  std::vector<Finished> take_finished();

  /// Adds the sockets to what is polled.
  void add_to(std::vector<pollfd>& polled) const;
  /// How long to poll until a question needs process() for a timeout; at most this.
  [[nodiscard]] std::chrono::milliseconds wait(std::chrono::milliseconds at_most) const;
  /// Handles what poll(2) found, and timeouts. Entries that add_to() did not add are ignored.
  void process(const std::vector<pollfd>& polled);

 private:
  class Library;
  struct Asked;
  struct Question;

  explicit Channel(Family family);

  [[nodiscard]] std::vector<int> families_asked_for(const std::string& name) const;
  void ask_servers(Library& library, std::unique_ptr<Question> question);
  void end(const Question& question, int status, const ares_addrinfo* found);
  static void on_reply(void* argument, int status, int timeouts, ares_addrinfo* found);

  const int family_;  // AF_INET, AF_INET6 or AF_UNSPEC
  std::size_t under_way_ = 0;
  std::vector<Finished> finished_;
  // Last: they end their questions when they are destroyed.
  std::unique_ptr<Library> hosts_, servers_, unchecked_;
};

}  // namespace mc::dns
