// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the stages of a session work with, all of it the session's, which outlives them.

#include "base/fd.hpp"
#include "proxy/interruption.hpp"
#include "proxy/worker_context.hpp"
#include "traffic/facts.hpp"

namespace mc::proxy {

struct SessionParts {
  WorkerContext& context;
  traffic::ConnectionFacts& facts;
  Interruption& interruption;
  Fd& client;

  [[nodiscard]] const policy::ListenerSettings& listener() const {
    return context.settings.listeners[facts.listener];
  }
};

}  // namespace mc::proxy
