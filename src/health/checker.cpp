// SPDX-License-Identifier: Apache-2.0
#include "health/checker.hpp"

#include <liburing.h>
#include <pthread.h>

#include <utility>

#include "health/limits.hpp"
#include "health/rounds.hpp"

namespace mc::health {
namespace {

// All that a check asks of the ring, and the wake-up's read. Hellos are sent by send(2).
constexpr int kOperations[] = {IORING_OP_CONNECT, IORING_OP_RECV, IORING_OP_READ,
                               IORING_OP_ASYNC_CANCEL};

}  // namespace

Result<std::unique_ptr<Checker>> Checker::start(Options options) {
  std::unique_ptr<Checker> checker(new Checker(std::move(options)));
  std::promise<std::optional<ring::SetupError>> ready;
  auto is_ready = ready.get_future();
  checker->thread_ = std::thread(
      [self = checker.get(), to = std::move(ready)]() mutable { self->work(std::move(to)); });
  if (const auto error = is_ready.get(); error.has_value()) {
    return std::unexpected(ring::explain(*error, ring::HostProbe::probe()));
  }
  return checker;
}

Checker::~Checker() {
  stop();
  thread_.join();
}

void Checker::set_pools(std::shared_ptr<const policy::LivePools> pools) {
  const std::lock_guard lock(mailbox_);
  mail_.pools = std::move(pools);
  if (loop_ != nullptr) loop_->wake();
}

void Checker::stop() {
  const std::lock_guard lock(mailbox_);
  mail_.stop = true;
  if (loop_ != nullptr) loop_->wake();
}

void Checker::work(std::promise<std::optional<ring::SetupError>> ready) {
  static_cast<void>(::pthread_setname_np(::pthread_self(), "health"));
  auto loop = ring::Loop::create({.operations = kOperations,
                                  .submission_entries = kSubmissionEntries,
                                  .completion_entries = kCompletionEntries});
  if (!loop.has_value()) return ready.set_value(loop.error());
  {
    const std::lock_guard lock(mailbox_);
    loop_ = loop->get();
  }
  ready.set_value(std::nullopt);
  run(**loop);
  const std::lock_guard lock(mailbox_);
  loop_ = nullptr;
}

void Checker::run(ring::Loop& loop) {
  Rounds rounds(loop, options_.log, options_.on_change, figures_);
  for (bool stopping = false; !stopping || rounds.is_any_under_way();) {
    Mail mail = take_mail();
    if (mail.pools != nullptr) rounds.set_pools(std::move(mail.pools));
    if (mail.stop && !std::exchange(stopping, true)) {
      rounds.stop();
      continue;
    }
    rounds.start_due();
    loop.wait();
    loop.dispatch();
  }
}

// The order to stop stays.
Checker::Mail Checker::take_mail() {
  const std::lock_guard lock(mailbox_);
  return {.pools = std::move(mail_.pools), .stop = mail_.stop};
}

}  // namespace mc::health
