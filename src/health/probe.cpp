// SPDX-License-Identifier: Apache-2.0
#include "health/probe.hpp"

#include <fmt/format.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "base/duration.hpp"
#include "health/limits.hpp"
#include "net/sockets.hpp"
#include "proxy_protocol/write.hpp"
#include "ring/operations.hpp"
#include "tls/check_hello.hpp"

namespace mc::health {
namespace {

Outcome passed(std::string why) { return {Verdict::kPassed, std::move(why)}; }
Outcome failed(std::string why) { return {Verdict::kFailed, std::move(why)}; }

// What this process, or this machine, lacks; it says nothing about the backend.
bool is_own_want(int error) {
  switch (error) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    case EADDRNOTAVAIL:  // connect(2): all local ports are in use
      return true;
    default:
      return false;
  }
}

tls::HelloRandoms new_randoms() {
  tls::HelloRandoms randoms{};
  static_assert(sizeof randoms <= 256, "getrandom(2) gives this much at once, never less");
  static_cast<void>(::getrandom(&randoms, sizeof randoms, 0));
  return randoms;
}

}  // namespace

std::string no_reply_within(std::chrono::milliseconds timeout) {
  return fmt::format("no reply within {}", format_duration(timeout));
}

ring::Task<Outcome> Probe::run() {
  Outcome outcome = co_await connect();
  if (outcome.verdict != Verdict::kPassed) co_return outcome;
  if (const int error = send_opening(); error != 0) co_return outcome_of(error);
  if (target_.kind != policy::CheckKind::kTls) co_return outcome;
  co_return co_await ask();
}

ring::Task<Outcome> Probe::connect() {
  address_ = target_.address.resolve();
  if (!address_.has_value()) {
    co_return failed(fmt::format("no interface {}", target_.address.interface()));
  }
  socket_ = net::open_backend_socket(*address_);
  if (!socket_) co_return outcome_of(errno);
  net::reset_on_close(socket_.get());
  deadline_ = loop_.now() + timeout_;
  loop_.timers().arm(*this, deadline_);
  ring::Connect connect(loop_, socket_.get(), *address_);
  const int result = co_await unless_over(connect);
  if (result != 0) co_return outcome_of(-result);
  co_return has_met_itself() ? outcome_of(ECONNREFUSED) : passed("connected");
}

ring::Task<Outcome> Probe::ask() {
  std::array<std::uint8_t, tls::kReplyBytesMax> bytes;
  std::size_t size = 0;
  for (;;) {
    // The parser gives a result before the buffer is full, or when it is.
    ring::Receive receive(loop_, socket_.get(), std::span(bytes).subspan(size));
    const int received = co_await unless_over(receive);
    if (received < 0) co_return outcome_of(-received);
    if (received == 0) co_return failed(size == 0 ? "closed without a reply" : "not TLS");
    size += static_cast<std::size_t>(received);
    const tls::ServerReply reply = tls::parse_server_reply(std::span(bytes).first(size));
    if (!std::holds_alternative<tls::ReplyIncomplete>(reply)) co_return judge(reply);
  }
}

// Sends what a client of this target begins with. Returns 0 or an errno. A plain send(2): the
// buffer of a new socket takes it at once, so that there is nothing to wait for, and the ring needs
// no right to send.
int Probe::send_opening() {
  std::string bytes = proxy_header();
  if (target_.kind == policy::CheckKind::kTls) {
    const std::vector<std::uint8_t> hello = tls::check_hello(target_.name, new_randoms());
    bytes.append(hello.begin(), hello.end());
  }
  if (bytes.empty()) return 0;
  const auto sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0) return errno == EAGAIN ? ENOBUFS : errno;
  return static_cast<std::size_t>(sent) == bytes.size() ? 0 : ENOBUFS;
}

// Version 2 can say that the connection is the proxy's own (LOCAL). Version 1 cannot: servers that
// require addresses get those of this connection, which are the truth.
std::string Probe::proxy_header() const {
  switch (target_.send_proxy) {
    case policy::SendProxy::kNone:
      return {};
    case policy::SendProxy::kV1:
      if (address_->is_unix()) return proxy_protocol::v1(std::nullopt);
      return proxy_protocol::v1(proxy_protocol::Addresses{
          .source = net::bound_address(socket_.get()), .destination = address_->ip_address()});
    case policy::SendProxy::kV2:
      return proxy_protocol::v2(std::nullopt, {});
  }
  std::unreachable();
}

// Nothing listens at a port of this machine, and the kernel picks that port as the local one: TCP
// connects the socket to itself (RFC 9293, section 3.5: a simultaneous open).
bool Probe::has_met_itself() const {
  return !address_->is_unix() && net::bound_address(socket_.get()) == address_->ip_address();
}

Outcome Probe::outcome_of(int error) const {
  if (error == ECANCELED && end_ == End::kDeadline) return failed(no_reply_within(timeout_));
  if (error == ECANCELED || is_own_want(error)) return {Verdict::kNone, std::strerror(error)};
  return failed(std::strerror(error));
}

Outcome Probe::judge(const tls::ServerReply& reply) {
  if (std::holds_alternative<tls::ServerHello>(reply)) return passed("ServerHello");
  const auto* const alert = std::get_if<tls::Alert>(&reply);
  if (alert == nullptr) return failed("not TLS");
  const std::string why = "alert " + to_string(*alert);
  if (*alert == tls::kUnrecognizedName) return failed(why);
  return {Verdict::kAnswered, why + " (alive, but it refuses this hello)"};
}

void Probe::expired() { end(loop_.now() - deadline_ > kStallMax ? End::kStalled : End::kDeadline); }

}  // namespace mc::health
