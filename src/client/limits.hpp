// SPDX-License-Identifier: Apache-2.0
#pragma once
// The client's limits, each with its reason.

#include <chrono>

namespace mc::client {

/// How long the client waits for a local server that does not accept: a person waits for it.
inline constexpr std::chrono::milliseconds kLocalConnectWaitMax{5000};

/// How long the handshake may take that finds out why gRPC could not connect.
inline constexpr std::chrono::milliseconds kProbeWaitMax{5000};

}  // namespace mc::client
