// SPDX-License-Identifier: Apache-2.0
#include "proxy/preface.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <variant>

#include "net/sockets.hpp"
#include "proxy/limits.hpp"
#include "proxy/peek_until.hpp"
#include "proxy_protocol/header.hpp"
#include "ring/operations.hpp"
#include "tls/postgres.hpp"

namespace mc::proxy {
namespace {

using Bytes = std::span<const std::uint8_t>;

static_assert(proxy_protocol::kHeaderBytesMax <= kCopyBytes, "the header fits in copy_buffer");

// Takes bytes that were peeked. False: the client has reset the connection.
bool take(const SessionParts& parts, std::size_t bytes) {
  return net::drop_queued(parts.client.get(), bytes, parts.context.copy_buffer);
}

// ---- the PROXY header

Reason refuse(const SessionParts& parts, std::string_view complaint) {
  parts.facts.more().complaint = complaint;
  return Reason::kProxyHeader;
}

Judgement judge_header(const SessionParts& parts, Bytes bytes, std::size_t& size) {
  const proxy_protocol::Parsed parsed = proxy_protocol::parse(bytes);
  if (const auto* const incomplete = std::get_if<proxy_protocol::Incomplete>(&parsed)) {
    return NeedsBytes{incomplete->needed};
  }
  if (const auto* const malformed = std::get_if<proxy_protocol::Malformed>(&parsed)) {
    const bool has_none = *malformed == proxy_protocol::Malformed::kNotProxy;
    if (has_none && !parts.listener().proxy_header->is_required) return Reason::kNone;
    return refuse(parts, to_string(*malformed));
  }
  const auto& header = std::get<proxy_protocol::Header>(parsed);
  size = header.size;
  traffic::RareFacts& rare = parts.facts.more();
  rare.is_local = header.is_local;
  if (header.addresses.has_value()) {
    rare.client = header.addresses->source;
    rare.destination = header.addresses->destination;
  }
  parts.context.reporter.conveyed(parts.facts, header.authority);
  return Reason::kNone;
}

// The accept has judged the peer; this is who it speaks for.
Reason judge_client(const SessionParts& parts) {
  const auto verdict = parts.context.policy.get().admit(parts.facts.client().ip());
  return verdict == policy::Verdict::kAllowed ? Reason::kNone : traffic::reason_of(verdict);
}

ring::Task<Reason> read_proxy_header(SessionParts parts) {
  std::size_t size = 0;  // 0: there is none
  const Reason reason =
      co_await peek_until(parts, parts.listener().proxy_header->timeout, Reason::kProxyTimeout,
                          [&](Bytes bytes) { return judge_header(parts, bytes, size); });
  if (reason != Reason::kNone) co_return reason;
  if (size > 0 && !take(parts, size)) co_return Reason::kClientReset;
  parts.facts.has_spoken = false;  // the client itself
  co_return judge_client(parts);
}

// ---- silence

ring::Task<Reason> await_first_byte(SessionParts parts) {
  auto& [context, facts, interruption, client] = parts;
  const policy::SilentSettings& silent = *parts.listener().silent;
  Deadline deadline(context.loop, interruption, silent.after, Reason::kHelloTimeout);
  for (;;) {
    ring::Peek peek(context.loop, client.get(), context.peek_buffers, ring::PeekMode::kAtOnce);
    const int peeked = co_await interruption.reaches(peek);
    if (peeked == -ENOBUFS) {
      co_await context.loop.yield();
      continue;
    }
    if (interruption.is_final()) co_return interruption.reason();
    const bool is_silent = peeked < 0 && interruption.reason() != Reason::kNone;
    deadline.met(context.loop);
    if (is_silent) {
      facts.take_way(traffic::Way::kSilent, silent.pool);
      context.reporter.routed(facts, context.loop.now());
      co_return Reason::kNone;
    }
    if (peeked == 0) co_return Reason::kClientClosed;
    co_return peeked > 0 ? Reason::kNone : Reason::kClientReset;
  }
}

// ---- PostgreSQL

Reason judge_plain(const SessionParts& parts) {
  const std::string& pool = parts.listener().not_tls;
  if (pool.empty()) return Reason::kNotTls;
  parts.facts.take_way(traffic::Way::kNotTls, pool);
  parts.context.reporter.routed(parts.facts, parts.context.loop.now());
  return Reason::kNone;
}

// Replies to a request with one byte. False: the client cannot take it.
bool reply(const SessionParts& parts, std::uint8_t byte) {
  if (!take(parts, tls::postgres::kRequestBytes)) return false;
  return ::send(parts.client.get(), &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1;
}

ring::Task<Reason> read_postgres_request(SessionParts parts) {
  using tls::postgres::Opening;
  for (bool may_ask_for_gss = true;; may_ask_for_gss = false) {
    Opening opening = Opening::kIncomplete;
    const Reason reason =
        co_await peek_until(parts, parts.listener().hello_timeout, Reason::kHelloTimeout,
                            [&opening](Bytes bytes) -> Judgement {
                              opening = tls::postgres::judge(bytes);
                              if (opening != Opening::kIncomplete) return Reason::kNone;
                              return NeedsBytes{tls::postgres::kRequestBytes};
                            });
    if (reason != Reason::kNone) co_return reason;
    switch (opening) {
      case Opening::kIncomplete:
      case Opening::kDirectTls:
        co_return Reason::kNone;
      case Opening::kPlain:
        co_return judge_plain(parts);
      case Opening::kPipelined:
        co_return Reason::kStarttls;
      case Opening::kSslRequest:
        if (!reply(parts, tls::postgres::kAccepts)) co_return Reason::kClientReset;
        parts.facts.more().asked_for_tls = true;
        co_return Reason::kNone;
      case Opening::kGssEncRequest:
        if (!may_ask_for_gss) co_return Reason::kStarttls;
        if (!reply(parts, tls::postgres::kRefuses)) co_return Reason::kClientReset;
        break;
    }
  }
}

}  // namespace

bool has_preface(const policy::ListenerSettings& listener) {
  return listener.proxy_header.has_value() || listener.silent.has_value() ||
         listener.starttls != policy::Starttls::kNone;
}

bool is_trusted_proxy(const policy::ListenerSettings& listener, const IpAddress& peer) {
  return listener.proxy_header.has_value() &&
         std::ranges::any_of(listener.proxy_header->from,
                             [&](const IpPrefix& prefix) { return prefix.contains(peer); });
}

ring::Task<Reason> read_preface(SessionParts parts) {
  const policy::ListenerSettings& listener = parts.listener();
  const auto may_go_on = [&parts](Reason reason) {
    return reason == Reason::kNone && !parts.facts.has_way();
  };
  Reason reason = Reason::kNone;
  if (is_trusted_proxy(listener, parts.facts.peer.ip())) {
    // Where no header need come, the silence of a client may begin at once.
    if (listener.silent.has_value() && !listener.proxy_header->is_required) {
      reason = co_await await_first_byte(parts);
    }
    if (may_go_on(reason)) reason = co_await read_proxy_header(parts);
  }
  if (may_go_on(reason) && listener.silent.has_value()) reason = co_await await_first_byte(parts);
  if (may_go_on(reason) && listener.starttls == policy::Starttls::kPostgres) {
    reason = co_await read_postgres_request(parts);
  }
  co_return reason;
}

}  // namespace mc::proxy
