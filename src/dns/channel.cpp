// SPDX-License-Identifier: Apache-2.0
#include "dns/channel.hpp"

#include <ares.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <utility>

#include "base/quote.hpp"
#include "dns/limits.hpp"

namespace mc::dns {
namespace {

using Addresses = std::unique_ptr<ares_addrinfo, decltype(&ares_freeaddrinfo)>;

/// What a c-ares channel looks names up in: the hosts file ("f") or the name servers ("b").
constexpr char kHosts[] = "f";
constexpr char kServers[] = "b";

/// RFC 6761 section 6.3: always this machine, and never asked of a name server.
bool is_localhost(std::string_view name) {
  return name == "localhost" || name.ends_with(".localhost");
}

/// Search domains are for other names.
bool is_absolute(std::string_view name) { return name.contains('.'); }

/// The name as c-ares shall ask for it. ARES_FLAG_NOSEARCH would not do: 1.18 ignores it here.
std::string asked_name(const std::string& name) { return is_absolute(name) ? name + "." : name; }

int family_number(Family family) {
  switch (family) {
    case Family::kAny:
      return AF_UNSPEC;
    case Family::kIpv4:
      return AF_INET;
    case Family::kIpv6:
      return AF_INET6;
  }
  std::unreachable();
}

ares_addrinfo_hints hints_of(int family) {
  // Unsorted: c-ares would sort by what connect(2) says of each address.
  return {.ai_flags = ARES_AI_NOSORT,
          .ai_family = family,
          .ai_socktype = SOCK_STREAM,
          .ai_protocol = 0};
}

std::string words_of(int status) {
  switch (status) {
    case ARES_ESERVFAIL:
      return "SERVFAIL";
    case ARES_EREFUSED:
      return "REFUSED";
    case ARES_EFORMERR:
      return "FORMERR";
    case ARES_ENOTIMP:
      return "NOTIMP";
    case ARES_EBADRESP:
      return "malformed reply";
    case ARES_ETIMEOUT:
      return "no reply";
    case ARES_ECONNREFUSED:
      return "name server not reachable";
    default:
      return ares_strerror(status);
  }
}

/// A TTL with its highest bit set counts as 0 (RFC 2181 section 8).
std::chrono::seconds ttl_of_record(int ttl) { return std::chrono::seconds(std::max(ttl, 0)); }

/// The usable addresses of a family. Records of another family are skipped.
Reply reply_of(const ares_addrinfo& found, int family) {
  Reply reply;
  auto ttl = std::chrono::seconds::max();
  for (const ares_addrinfo_node* node = found.nodes; node != nullptr; node = node->ai_next) {
    if (node->ai_family != family) continue;
    const IpAddress address = SocketAddress::from(node->ai_addr).ip();
    // Blocking name servers reply with the unspecified address, which would be this machine.
    if (!address.names_host()) continue;
    reply.addresses.push_back(address);
    ttl = std::min(ttl, ttl_of_record(node->ai_ttl));
  }
  if (reply.addresses.empty()) return reply;
  for (const ares_addrinfo_cname* alias = found.cnames; alias != nullptr; alias = alias->next) {
    ttl = std::min(ttl, ttl_of_record(alias->ttl));
  }
  reply.kind = Reply::Kind::kAddresses;
  reply.ttl = ttl;
  return reply;
}

Reply reply_of(int status, const ares_addrinfo* found, int family) {
  if (status == ARES_SUCCESS && found != nullptr) return reply_of(*found, family);
  if (status == ARES_ENODATA) return {};
  if (status == ARES_ENOTFOUND) return {.kind = Reply::Kind::kNoName};
  return {.kind = Reply::Kind::kFailed, .why = words_of(status)};
}

Reply loopback(const IpAddress& address) {
  return {.kind = Reply::Kind::kAddresses, .addresses = {address}};
}

void keep_found(void* argument, int status, int /*timeouts*/, ares_addrinfo* found) {
  const Addresses owned(found, &ares_freeaddrinfo);
  if (status != ARES_SUCCESS || found == nullptr) return;
  auto& replies = *static_cast<Replies*>(argument);
  replies = {.ipv4 = reply_of(*found, AF_INET), .ipv6 = reply_of(*found, AF_INET6)};
}

}  // namespace

/// One c-ares channel, and the sockets that it has open.
class Channel::Library {
 public:
  Library() = default;
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
  ~Library() {
    if (channel_ != nullptr) ares_destroy(channel_);
  }

  /// A status of c-ares.
  int open(const Settings& settings, const char* lookups, int flags) {
    std::string path = settings.resolv_conf, order = lookups;
    ares_options options{};
    // Without NOALIASES, the environment could rename hosts (HOSTALIASES).
    options.flags = ARES_FLAG_EDNS | ARES_FLAG_NOALIASES | flags;
    options.timeout = static_cast<int>(kReplyTimeout.count());
    options.tries = kTries;
    options.ednspsz = kUdpPayloadMax;
    options.lookups = order.data();
    options.resolvconf_path = path.data();
    options.sock_state_cb = &Library::on_socket;
    options.sock_state_cb_data = this;
    int given = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_EDNSPSZ |
                ARES_OPT_LOOKUPS | ARES_OPT_RESOLVCONF | ARES_OPT_SOCK_STATE_CB;
#ifdef ARES_OPT_MAXTIMEOUTMS
    options.tries = kTriesWithLatency;
    options.maxtimeout = options.timeout;
    given |= ARES_OPT_MAXTIMEOUTMS;
#endif
#ifdef ARES_OPT_QUERY_CACHE
    given |= ARES_OPT_QUERY_CACHE;  // a qcache_max_ttl of 0: off, as the schedule is ours
#endif
    const int status = ares_init_options(&channel_, &options, given);
    if (status != ARES_SUCCESS || settings.servers.empty()) return status;
    std::string servers;
    for (const SocketAddress& server : settings.servers) servers += server.to_string() + ",";
    servers.pop_back();
    return ares_set_servers_ports_csv(channel_, servers.c_str());
  }

  [[nodiscard]] ares_channeldata* get() const { return channel_; }
  [[nodiscard]] const std::map<int, short>& sockets() const { return sockets_; }

 private:
  static void on_socket(void* self, int socket, int readable, int writable) {
    auto& sockets = static_cast<Library*>(self)->sockets_;
    const int events = (readable != 0 ? POLLIN : 0) | (writable != 0 ? POLLOUT : 0);
    if (events == 0) {
      sockets.erase(socket);
    } else {
      sockets[socket] = static_cast<short>(events);
    }
  }

  ares_channeldata* channel_ = nullptr;
  std::map<int, short> sockets_;  // the events that c-ares waits for
};

/// A query that is asked of the name servers.
struct Channel::Asked {
  Query query;
  Replies replies;
  std::size_t awaited = 0;  // questions
};

/// One question of it: for a family, or AF_UNSPEC. c-ares holds it while it is under way.
struct Channel::Question {
  Channel& channel;
  std::shared_ptr<Asked> asked;
  int family;
  bool is_second = false;
};

Channel::Channel(Family family)
    : family_(family_number(family)),
      hosts_(std::make_unique<Library>()),
      servers_(std::make_unique<Library>()),
      unchecked_(std::make_unique<Library>()) {}

Channel::~Channel() = default;

Result<std::unique_ptr<Channel>> Channel::open(const Settings& settings) {
  std::unique_ptr<Channel> channel(new Channel(settings.family));
  int status = channel->hosts_->open(settings, kHosts, 0);
  if (status == ARES_SUCCESS) status = channel->servers_->open(settings, kServers, 0);
  if (status == ARES_SUCCESS) {
    status = channel->unchecked_->open(settings, kServers, ARES_FLAG_NOCHECKRESP);
  }
  if (status == ARES_SUCCESS) return channel;
  return fail(fmt::format("names cannot be resolved: {}; check that {} is readable",
                          ares_strerror(status), quote(settings.resolv_conf)));
}

void Channel::ask(Query query) {
  Replies replies;
  const ares_addrinfo_hints any = hints_of(family_);
  ares_getaddrinfo(hosts_->get(), query.name.c_str(), nullptr, &any, &keep_found, &replies);
  if (failure_of(replies).has_value() && is_localhost(query.name)) {
    if (family_ != AF_INET6) replies.ipv4 = loopback(IpAddress::v4(INADDR_LOOPBACK));
    if (family_ != AF_INET) replies.ipv6 = loopback(*IpAddress::parse("::1"));
  }
  if (!failure_of(replies).has_value()) {
    finished_.push_back({.query = std::move(query), .replies = std::move(replies)});
    return;
  }
  ++under_way_;
  const auto families = families_asked_for(query.name);
  const auto asked = std::make_shared<Asked>(
      Asked{.query = std::move(query), .replies = {}, .awaited = families.size()});
  for (const int family : families) {
    ask_servers(*servers_, std::make_unique<Question>(Question{*this, asked, family}));
  }
}

// Apart, because of both together c-ares would call it a success if one got no reply. But a name
// that is searched for could then get its IPv4 addresses from one domain and its IPv6 addresses
// from another.
std::vector<int> Channel::families_asked_for(const std::string& name) const {
  if (family_ != AF_UNSPEC || !is_absolute(name)) return {family_};
  return {AF_INET, AF_INET6};
}

void Channel::ask_servers(Library& library, std::unique_ptr<Question> question) {
  const std::string name = asked_name(question->asked->query.name);
  const ares_addrinfo_hints hints = hints_of(question->family);
  ares_getaddrinfo(library.get(), name.c_str(), nullptr, &hints, &Channel::on_reply,
                   question.release());
}

void Channel::on_reply(void* argument, int status, int /*timeouts*/, ares_addrinfo* found) {
  std::unique_ptr<Question> question(static_cast<Question*>(argument));
  const Addresses owned(found, &ares_freeaddrinfo);
  if (status == ARES_EDESTRUCTION) return;
  Channel& channel = question->channel;
  // c-ares 1.18 says the same of servers that refuse or fail as of one that is not there. This asks
  // the first one again, and takes the reply as it is.
  if (status == ARES_ECONNREFUSED && !std::exchange(question->is_second, true)) {
    return channel.ask_servers(*channel.unchecked_, std::move(question));
  }
  channel.end(*question, status, found);
}

void Channel::end(const Question& question, int status, const ares_addrinfo* found) {
  Asked& asked = *question.asked;
  if (question.family != AF_INET6) asked.replies.ipv4 = reply_of(status, found, AF_INET);
  if (question.family != AF_INET) asked.replies.ipv6 = reply_of(status, found, AF_INET6);
  if (--asked.awaited > 0) return;
  --under_way_;
  finished_.push_back({.query = std::move(asked.query), .replies = std::move(asked.replies)});
}

std::vector<Channel::Finished> Channel::take_finished() { return std::exchange(finished_, {}); }

void Channel::add_to(std::vector<pollfd>& polled) const {
  for (const Library* library : {servers_.get(), unchecked_.get()}) {
    for (const auto& [socket, events] : library->sockets()) {
      polled.push_back({.fd = socket, .events = events, .revents = 0});
    }
  }
}

std::chrono::milliseconds Channel::wait(std::chrono::milliseconds at_most) const {
  for (const Library* library : {servers_.get(), unchecked_.get()}) {
    timeval left{};
    if (ares_timeout(library->get(), nullptr, &left) == nullptr) continue;
    const auto exact = std::chrono::seconds(left.tv_sec) + std::chrono::microseconds(left.tv_usec);
    at_most = std::min(at_most, std::chrono::ceil<std::chrono::milliseconds>(exact));
  }
  return at_most;
}

void Channel::process(const std::vector<pollfd>& polled) {
  for (const Library* library : {servers_.get(), unchecked_.get()}) {
    for (const pollfd& one : polled) {
      if (one.revents == 0 || !library->sockets().contains(one.fd)) continue;
      // An error is found by reading, or by writing what waits for a connection.
      const bool is_error = (one.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0;
      const bool is_readable = is_error || (one.revents & POLLIN) != 0;
      const bool is_writable = is_error || (one.revents & POLLOUT) != 0;
      ares_process_fd(library->get(), is_readable ? one.fd : ARES_SOCKET_BAD,
                      is_writable ? one.fd : ARES_SOCKET_BAD);
    }
    ares_process_fd(library->get(), ARES_SOCKET_BAD, ARES_SOCKET_BAD);  // timeouts
  }
}

}  // namespace mc::dns
