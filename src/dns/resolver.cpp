// SPDX-License-Identifier: Apache-2.0
#include "dns/resolver.hpp"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>
#include <utility>

#include "dns/limits.hpp"

namespace mc::dns {

Result<std::unique_ptr<Resolver>> Resolver::start(Options options) {
  Fd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return fail(std::string("names cannot be resolved: ") + std::strerror(errno));
  ResolvConf resolv_conf(options.settings.resolv_conf);  // before it is read
  auto channel = Channel::open(options.settings);
  if (!channel.has_value()) return std::unexpected(std::move(channel).error());
  std::unique_ptr<Resolver> resolver(new Resolver(std::move(options), std::move(wake),
                                                  std::move(resolv_conf), *std::move(channel)));
  resolver->thread_ = std::thread([self = resolver.get()] { self->run(); });
  return resolver;
}

Resolver::Resolver(Options options, Fd wake, ResolvConf resolv_conf,
                   std::unique_ptr<Channel> channel)
    : options_(std::move(options)),
      wake_(std::move(wake)),
      names_(options_.settings, std::random_device()()),
      resolv_conf_(std::move(resolv_conf)),
      channel_(std::move(channel)) {}

Resolver::~Resolver() {
  is_ending_ = true;
  wake();
  thread_.join();
}

void Resolver::set_names(const std::vector<std::string>& names) {
  {
    const std::lock_guard lock(mutex_);
    names_.set(names, Clock::now());
  }
  wake();
}

std::vector<Status> Resolver::status() const {
  const std::lock_guard lock(mutex_);
  return names_.status();
}

void Resolver::wake() const {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto ignored = ::write(wake_.get(), &one, sizeof one);
}

void Resolver::run() {
  static_cast<void>(::pthread_setname_np(::pthread_self(), "dns"));
  while (!is_ending_) {
    follow_resolv_conf();
    begin_due();
    if (!channel_->has_finished()) wait();
    for (const Channel::Finished& finished : channel_->take_finished()) end(finished);
  }
}

// Names that fail are due at once: their failure may have been that of the old servers.
void Resolver::follow_resolv_conf() {
  if (!resolv_conf_.is_changed()) return;
  auto channel = Channel::open(options_.settings);
  if (!channel.has_value()) {
    options_.log.warn("a changed resolv.conf is not usable; the old one stays in use",
                      {{"error", channel.error().message}});
    return;
  }
  channel_ = *std::move(channel);
  options_.log.info("resolv.conf has changed", {{"path", options_.settings.resolv_conf}});
  const std::lock_guard lock(mutex_);
  names_.start_over(Clock::now());
}

void Resolver::begin_due() {
  while (channel_->under_way() < kUnderWayMax) {
    std::optional<Query> query;
    {
      const std::lock_guard lock(mutex_);
      query = names_.begin_due(Clock::now());
    }
    if (!query.has_value()) return;
    ++queries_;
    channel_->ask(*std::move(query));
  }
}

void Resolver::wait() {
  std::vector<pollfd> polled{{.fd = wake_.get(), .events = POLLIN, .revents = 0}};
  channel_->add_to(polled);
  ::poll(polled.data(), polled.size(), static_cast<int>(longest_wait().count()));
  std::uint64_t count = 0;
  [[maybe_unused]] const auto ignored = ::read(wake_.get(), &count, sizeof count);
  channel_->process(polled);
}

std::chrono::milliseconds Resolver::longest_wait() const {
  constexpr std::chrono::milliseconds kNothingToDo = std::chrono::minutes(1);
  auto longest = channel_->wait(kNothingToDo);
  const std::lock_guard lock(mutex_);
  if (names_.is_any_failing()) longest = std::min(longest, kResolvConfPoll);
  const auto due = names_.next_due();
  if (!due.has_value() || channel_->under_way() >= kUnderWayMax) return longest;
  return std::clamp(*due - Clock::now(), std::chrono::milliseconds(0), longest);
}

void Resolver::end(const Channel::Finished& finished) {
  ++(failure_of(finished.replies).has_value() ? failures_ : answers_);
  std::optional<News> news;
  {
    const std::lock_guard lock(mutex_);
    news = names_.end(finished.query, finished.replies, Clock::now());
  }
  if (news.has_value()) report(finished.query.name, *news);
}

void Resolver::report(const std::string& name, const News& news) {
  const std::size_t addresses = news.answer.addresses.size();
  switch (news.kind) {
    case News::Kind::kFails:
      options_.log.warn(
          "name does not resolve",
          {{"name", name}, {"reason", news.failure.why}, {"addresses_kept", addresses}});
      if (options_.on_failure) options_.on_failure(name, news.failure);
      return;
    case News::Kind::kResolves:
      options_.log.info("name resolves", {{"name", name}, {"addresses", addresses}});
      break;
    case News::Kind::kChanged:
      options_.log.debug("name has other addresses", {{"name", name}, {"addresses", addresses}});
      break;
  }
  if (options_.on_answer) options_.on_answer(name, news.answer);
}

}  // namespace mc::dns
