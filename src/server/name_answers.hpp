// SPDX-License-Identifier: Apache-2.0
#pragma once
// Answers of DNS on their way from the resolver's thread to the main loop, which puts those that
// come close together in force at once.

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/fd.hpp"
#include "net/ip.hpp"
#include "policy/live_pool.hpp"

namespace mc::server {

class NameAnswers {
 public:
  NameAnswers() : arrived_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  NameAnswers(const NameAnswers&) = delete;
  NameAnswers& operator=(const NameAnswers&) = delete;

  /// Any thread.
  void put(const std::string& name, const std::vector<IpAddress>& addresses) {
    {
      const std::lock_guard lock(lock_);
      answers_[name] = addresses;
    }
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto ignored = ::write(arrived_.get(), &one, sizeof one);
  }

  // The main loop's.
  /// Readable when an answer has arrived since quiet().
  [[nodiscard]] int fd() const { return arrived_.get(); }
  void quiet() {
    std::uint64_t ignored = 0;
    [[maybe_unused]] const auto read = ::read(arrived_.get(), &ignored, sizeof ignored);
  }
  policy::ResolvedNames take() {
    const std::lock_guard lock(lock_);
    return std::exchange(answers_, {});
  }

 private:
  const Fd arrived_;  // an eventfd
  std::mutex lock_;
  policy::ResolvedNames answers_;
};

}  // namespace mc::server
