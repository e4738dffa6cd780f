// SPDX-License-Identifier: Apache-2.0
#include "proxy/redirect.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "http/redirect.hpp"
#include "http/request_head.hpp"
#include "http/response.hpp"
#include "proxy/lingering_close.hpp"
#include "proxy/peek_until.hpp"

namespace mc::proxy {
namespace {

/// The reply to a request, and how its connection ends; kNone: it goes on without a reply.
struct Reply {
  http::Status status{};
  std::string location;  // empty: none
  Reason reason = Reason::kNone;
};

Reply decide(const SessionParts& parts, const http::RequestHead& head) {
  const policy::RedirectSettings& settings = *parts.listener().redirect;
  traffic::ConnectionFacts& facts = parts.facts;
  const policy::Policy& policy = parts.context.policy.get();
  const http::RedirectRules rules{.tls_port = settings.port,
                                  .takes_challenges = !settings.challenge_pool.empty(),
                                  .has_route = [&](const tls::HostName& host) {
                                    facts.name = host.view();
                                    return std::ranges::any_of(
                                        settings.listeners, [&](std::size_t listener) {
                                          return policy.covers(listener, host.view());
                                        });
                                  }};
  const auto decision = http::decide_redirect(head, rules);
  if (const auto* const redirect = std::get_if<http::Redirect>(&decision)) {
    facts.way = traffic::Way::kRedirect;
    return {http::Status::kPermanentRedirect, redirect->location, Reason::kRedirected};
  }
  if (const auto* const challenge = std::get_if<http::Challenge>(&decision)) {
    facts.name = challenge->host.view();
    facts.take_way(traffic::Way::kChallenge, settings.challenge_pool);
    return {http::Status::kNotFound, {}, Reason::kNone};
  }
  if (const auto* const malformed = std::get_if<http::Malformed>(&decision)) {
    return {malformed->status, {}, Reason::kBadRequest};
  }
  return {http::Status::kNotFound, {}, Reason::kNoRoute};
}

Judgement judge(const SessionParts& parts, std::span<const std::uint8_t> bytes, Reply& reply) {
  const auto head =
      http::parse_request_head({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  if (std::holds_alternative<http::Incomplete>(head)) return NeedsBytes{bytes.size() + 1};
  if (const auto* const malformed = std::get_if<http::Malformed>(&head)) {
    reply = {malformed->status, {}, Reason::kBadRequest};
  } else {
    reply = decide(parts, std::get<http::RequestHead>(head));
  }
  return Reason::kNone;
}

std::string text_of(const Reply& reply) {
  const http::Field location{.name = "Location", .value = reply.location};
  const auto fields = std::span(&location, reply.location.empty() ? 0 : 1);
  return http::response(reply.status, fields, "");
}

}  // namespace

ring::Task<Reason> redirect(SessionParts parts) {
  Reply reply;
  const Reason reason = co_await peek_until(
      parts, parts.listener().hello_timeout, Reason::kHelloTimeout,
      [&](std::span<const std::uint8_t> bytes) { return judge(parts, bytes, reply); });
  if (reason != Reason::kNone) co_return reason;
  if (parts.facts.has_way()) parts.context.reporter.routed(parts.facts, parts.context.loop.now());
  if (reply.reason == Reason::kNone) co_return Reason::kNone;
  const std::string text = text_of(reply);
  co_return co_await close_lingering(
      parts, {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}, reply.reason);
}

}  // namespace mc::proxy
