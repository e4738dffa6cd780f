// SPDX-License-Identifier: Apache-2.0
#include "proxy/backend_preamble.hpp"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "net/sockets.hpp"
#include "proxy_protocol/write.hpp"
#include "ring/operations.hpp"
#include "tls/postgres.hpp"

namespace mc::proxy {
namespace {

bool asks_for_tls(const traffic::ConnectionFacts& facts) {
  return facts.rare != nullptr && facts.rare->asked_for_tls;
}

// Nothing: nobody is the client, because the proxy in front of this one makes a check.
std::optional<proxy_protocol::Addresses> ends_of(const SessionParts& parts) {
  const traffic::ConnectionFacts& facts = parts.facts;
  if (facts.is_conveyed()) {
    return proxy_protocol::Addresses{facts.rare->client, facts.rare->destination};
  }
  if (facts.rare != nullptr && facts.rare->is_local) return std::nullopt;
  return proxy_protocol::Addresses{facts.peer, net::bound_address(parts.client.get())};
}

std::string header_for(const SessionParts& parts, const BackendPreamble& how) {
  if (how.version == policy::SendProxy::kNone) return {};
  const auto ends = ends_of(parts);
  if (how.version == policy::SendProxy::kV1) return proxy_protocol::v1(ends);
  const std::string id = how.tlvs.unique_id ? parts.facts.id().to_string() : std::string();
  proxy_protocol::Tlvs tlvs;
  tlvs.crc32c = how.tlvs.crc32c;
  if (how.tlvs.authority && !parts.facts.name.empty()) tlvs.authority = parts.facts.name;
  if (how.tlvs.unique_id) tlvs.unique_id = id;
  return proxy_protocol::v2(ends, tlvs);
}

// Returns 0 or an errno. A plain send(2): the buffer of a new socket takes so few bytes at once.
int send_all(int backend, std::string_view bytes, int flags) {
  const ssize_t sent =
      ::send(backend, bytes.data(), bytes.size(), flags | MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0) return errno == EAGAIN ? ENOBUFS : errno;
  return static_cast<std::size_t>(sent) == bytes.size() ? 0 : ENOBUFS;
}

ring::Task<int> await_tls(SessionParts parts, int backend) {
  std::array<std::uint8_t, 1> reply{};
  ring::Receive receive(parts.context.loop, backend, reply);
  const int received = co_await parts.interruption.reaches(receive);
  if (received < 0) co_return -received;
  if (received == 0) co_return ECONNRESET;
  co_return reply[0] == tls::postgres::kAccepts ? 0 : traffic::kTlsDeclined;
}

}  // namespace

bool has_preamble(const BackendPreamble& how, const traffic::ConnectionFacts& facts) {
  return how.version != policy::SendProxy::kNone || asks_for_tls(facts);
}

ring::Task<int> send_preamble(SessionParts parts, BackendPreamble how, int backend) {
  std::string bytes = header_for(parts, how);
  const bool asks = asks_for_tls(parts.facts);
  if (asks) {
    const auto request = tls::postgres::ssl_request();
    bytes.append(request.begin(), request.end());
  }
  // The client's first bytes follow at once, in the same segment; those of a silent one may never.
  const int more = parts.facts.has_spoken && !asks ? MSG_MORE : 0;
  const int error = send_all(backend, bytes, more);
  if (error != 0 || !asks) co_return error;
  co_return co_await await_tls(parts, backend);
}

}  // namespace mc::proxy
