// SPDX-License-Identifier: Apache-2.0
#pragma once
// The client's limits, each with its reason.

#include <chrono>

namespace mc::client {

/// How long the client waits for a local server that does not accept. Short: a person is waiting.
inline constexpr std::chrono::milliseconds kLocalConnectWaitMax{5000};

/// The longest time for the handshake that finds out why gRPC could not connect.
inline constexpr std::chrono::milliseconds kProbeWaitMax{5000};

}  // namespace mc::client
