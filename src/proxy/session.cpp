// SPDX-License-Identifier: Apache-2.0
#include "proxy/session.hpp"

#include <utility>
#include <variant>

#include "net/sockets.hpp"
#include "proxy/dial.hpp"
#include "proxy/lingering_close.hpp"
#include "proxy/preface.hpp"
#include "proxy/redirect.hpp"
#include "proxy/relay.hpp"
#include "tls/alert.hpp"

namespace mc::proxy {

ring::Detached serve(WorkerContext& context, std::size_t listener, Fd client, SocketAddress peer) {
  Session session(context, listener, std::move(client), peer);
  Reason reason = Reason::kNone;
  if (session.has_preface()) reason = co_await session.read_preface();
  if (reason == Reason::kNone && !session.has_way()) reason = co_await session.read_hello();
  if (reason == Reason::kNone) reason = co_await session.dial();
  if (reason == Reason::kNone) reason = co_await session.relay();
  if (session.owes_alert(reason)) reason = co_await session.send_alert(reason);
  session.end(reason);
}

Session::Session(WorkerContext& context, std::size_t listener, Fd client, const SocketAddress& peer)
    : context_(context), client_(std::move(client)) {
  facts_.worker = static_cast<std::uint16_t>(context_.worker);
  facts_.number = ++context_.sessions_opened;
  facts_.listener = static_cast<std::uint16_t>(listener);
  facts_.peer = peer;
  facts_.accepted_at = facts_.moved_at = context_.loop.now();
  context_.sessions.add(*this);
  context_.connections.opened(listener, settings());
  context_.reporter.opened(facts_);
}

Session::~Session() {
  context_.reporter.closed(facts_);
  context_.sessions.remove(*this);
}

// ---- peek and decide

bool Session::has_preface() const { return proxy::has_preface(settings()); }

ring::Task<Reason> Session::read_preface() { return proxy::read_preface(parts()); }

ring::Task<Reason> Session::read_hello() {
  if (settings().redirect.has_value()) return redirect(parts());
  return peek_until(parts(), settings().hello_timeout, Reason::kHelloTimeout,
                    [this](std::span<const std::uint8_t> bytes) { return judge(bytes); });
}

Judgement Session::judge(std::span<const std::uint8_t> bytes) {
  const tls::ParseResult result = context_.parser.parse(bytes);
  if (const auto* const incomplete = std::get_if<tls::Incomplete>(&result)) {
    return NeedsBytes{incomplete->needed};
  }
  if (const auto* const reject = std::get_if<tls::Reject>(&result)) return judge(*reject);
  return decide(std::get<tls::ClientHello>(result));
}

Reason Session::judge(tls::Reject reject) {
  switch (reject) {
    case tls::Reject::kNoSni:
      return take_way(traffic::Way::kNoSni, settings().no_sni, Reason::kNoSni);
    case tls::Reject::kNotTls:
      if (facts_.rare != nullptr && facts_.rare->asked_for_tls) break;
      return take_way(traffic::Way::kNotTls, settings().not_tls, Reason::kNotTls);
    case tls::Reject::kNameInvalid:
      context_.reporter.name_refused(facts_, context_.parser.refused_name());
      break;
    default:
      break;
  }
  return traffic::reason_of(reject);
}

// To the listener's pool for such clients; without one they are refused.
Reason Session::take_way(traffic::Way way, const std::string& pool, Reason refusal) {
  if (pool.empty()) return refusal;
  facts_.take_way(way, pool);
  context_.reporter.routed(facts_, context_.loop.now());
  return Reason::kNone;
}

Reason Session::decide(const tls::ClientHello& hello) {
  facts_.name = hello.server_name.view();
  facts_.ech_offered = hello.ech_offered;
  const policy::RouteQuery query{
      .name = facts_.name, .alpn = hello.alpn, .client = facts_.client().ip()};
  const auto* const route = context_.policy.get().route(facts_.listener, query);
  if (route == nullptr) return Reason::kNoRoute;
  facts_.take_route(*route);
  context_.reporter.routed(facts_, context_.loop.now());
  return Reason::kNone;
}

// ---- dial

ring::Task<Reason> Session::dial() {
  facts_.stage = traffic::Stage::kDial;
  auto connected = co_await proxy::dial(parts());
  if (!connected.has_value()) co_return connected.error();
  backend_ = *std::move(connected);
  co_return Reason::kNone;
}

// ---- relay and end

ring::Task<Reason> Session::relay() {
  facts_.stage = traffic::Stage::kRelay;
  facts_.moved_at = context_.loop.now();
  return proxy::relay({.context = context_,
                       .facts = facts_,
                       .interruption = interruption_,
                       .client = client_.get(),
                       .backend = backend_.get()});
}

// Only of a hello that is good, but leads nowhere: what is no hello gets no TLS in return.
bool Session::owes_alert(Reason reason) const {
  return settings().refusal == policy::Refusal::kAlert &&
         (reason == Reason::kNoRoute || reason == Reason::kNoSni) && client_;
}

ring::Task<Reason> Session::send_alert(Reason reason) {
  const auto alert = tls::alert_record(reason == Reason::kNoRoute ? tls::kUnrecognizedName
                                                                  : tls::kMissingExtension);
  co_return co_await close_lingering(parts(), alert, reason);
}

// A proxy in front of this one connects to check it, and leaves; HAProxy with a reset.
bool Session::is_end_of_check(Reason reason) const {
  return facts_.rare != nullptr && facts_.rare->is_local && !facts_.has_way() &&
         (reason == Reason::kClientClosed || reason == Reason::kClientReset);
}

void Session::end(Reason reason) {
  if (is_end_of_check(reason)) reason = Reason::kProxyLocal;
  if (traffic::info(reason).close == traffic::Close::kReset) {
    if (client_) net::reset_on_close(client_.get());
    if (backend_) net::reset_on_close(backend_.get());
  }
  client_.reset();
  backend_.reset();
  context_.connections.closed(facts_.listener, settings());  // before anybody reads of the end
  context_.reporter.ended(facts_, reason, context_.loop.now());
}

}  // namespace mc::proxy
