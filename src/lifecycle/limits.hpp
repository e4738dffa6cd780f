// SPDX-License-Identifier: Apache-2.0
#pragma once
// The limits of start, hand-over and end, each with its reason.

#include <chrono>
#include <cstddef>

namespace mc::lifecycle {

/// Descriptors in one message: the kernel takes 253 (SCM_MAX_FD, unix(7)).
inline constexpr std::size_t kDescriptorsPerMessage = 128;

/// The longest message of a hand-over: a word, or the reason of a refusal.
inline constexpr std::size_t kMessageBytesMax = 1024;

/// How long one side of a hand-over waits for the other. The longest step is a start with all its
/// routes, under a second for 100,000 of them on a busy machine; a step that takes this long has
/// failed, and the steps are undone.
inline constexpr std::chrono::seconds kStepMax{20};

/// Messages of a server's report of itself: four about its confinement, the rest are addresses,
/// some 40 in each.
inline constexpr std::size_t kAboutMessagesMax = 64;

/// How long a process that requests the report waits: a hand-over may be under way, and the kernel
/// shows the most important part too.
inline constexpr std::chrono::seconds kAboutMax{3};

/// How long connect(2) waits for a server that does not accept.
inline constexpr std::chrono::seconds kConnectMax{5};

/// How long a connected process may take to send a request; meanwhile others wait.
inline constexpr std::chrono::seconds kRequestMax{1};

/// How long the sides of a hand-over wait for each other; tests use less.
struct Patience {
  std::chrono::milliseconds step = kStepMax;
  std::chrono::milliseconds request = kRequestMax;
  std::chrono::milliseconds about = kAboutMax;
};

/// Connections that may wait while a hand-over is under way.
inline constexpr int kHandoverBacklog = 4;

/// How long a restart may take before a server that released its keeper reports a failure. systemd
/// starts the next one at once. The server continues in any case, until another one has taken over
/// or an operator stops the unit.
inline constexpr std::chrono::seconds kSuccessorExpected{10};

/// How long the keeper waits for its server's reply to kLeave.
inline constexpr std::chrono::milliseconds kLeaveMax{2000};

/// How long a stuck server may take to end by SIGABRT, with a core of its memory, before it is
/// killed.
inline constexpr std::chrono::seconds kAbortMax{10};

/// How long the keeper waits for systemd to report its job.
inline constexpr std::chrono::seconds kBusMax{2};

/// How long `check` waits for systemctl to print how the service's unit starts the server, and the
/// most that it reads of that.
inline constexpr std::chrono::seconds kUnitAnswerMax{5};
inline constexpr std::size_t kUnitBytesMax = std::size_t{64} * 1024;

/// A stop signal that reaches the server this soon after the keeper's order is the same one: `kill
/// $(pidof mc-proxy)` reaches both.
inline constexpr std::chrono::milliseconds kTwinMax{1000};

/// Equal signals within this time are one: `kill -HUP $(pidof mc-proxy)` reaches the keeper and the
/// server, and the keeper passes it on.
inline constexpr std::chrono::milliseconds kSignalSettle{200};

}  // namespace mc::lifecycle
