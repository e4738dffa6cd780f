// SPDX-License-Identifier: Apache-2.0
#pragma once
// The admin API's limits, each with its reason.

#include <chrono>
#include <cstddef>

#include "control/limits.hpp"
#include "rpc/limits.hpp"

namespace mc::admin {

/// Connections at a time to the local socket, and to the TCP port: people and their scripts, and
/// anyone else who can reach the port. Each takes a descriptor from the proxy's. Further ones wait
/// in the kernel.
inline constexpr std::size_t kLocalConnectionsMax = 64;
inline constexpr std::size_t kTcpConnectionsMax = 64;
/// Connections to either that wait in the kernel until they are accepted.
inline constexpr int kBacklog = 64;

/// How long accepting pauses when there is no descriptor, or no free connection: nothing reports
/// that there is one again.
inline constexpr std::chrono::milliseconds kAcceptPause{100};

/// How long a client of the TCP port may take for the TLS and HTTP/2 handshakes: a few round trips.
/// Until then it has shown no certificate, but takes one of kTcpConnectionsMax places.
inline constexpr std::chrono::milliseconds kHandshakeMax{10'000};

/// How long a connection, to either, may be without a call (gRPC adds or takes 10 %): others may
/// wait for its place. Clients reconnect by themselves with their next call.
inline constexpr std::chrono::milliseconds kIdleMax{60'000};

/// The first descriptor number for local connections, and after how many connections the numbers
/// repeat. A number names a connection (see LocalSocket::peer), so it must not repeat soon.
inline constexpr int kLocalFdBegin = 256;
inline constexpr int kLocalFdNumbers = 512;
static_assert(kLocalFdNumbers >= 2 * static_cast<int>(kLocalConnectionsMax),
              "a number rests while others are used");
static_assert(kLocalFdBegin + kLocalFdNumbers +
                      static_cast<int>(kLocalConnectionsMax + kTcpConnectionsMax) <=
                  1024,
              "what a process may have at least, even where each connection takes one of them");

/// Threads that serve calls, which bounds the calls at one time: more than the operators and their
/// scripts there are, and changes go one after the other anyway. A stream keeps one for as long as
/// it lasts, so each sort of stream has a bound of its own, below.
inline constexpr int kThreadsMax = 48;

/// What the messages of all calls together may hold as bytes, before they are parsed.
inline constexpr std::size_t kCallBytesMax = 4 * std::size_t{rpc::kMessageBytesMax};

/// Routes and rules on one page: with the longest names (253 bytes and a backend's 50; a rule's 45)
/// they fit into the 4 MiB that gRPC clients take by default. Routes with a match are longer, up to
/// 4 KB, so a page also ends after these bytes of their messages.
inline constexpr std::size_t kRoutesPerPageMax = 10'000;
inline constexpr std::size_t kRoutePageBytes = 3'600'000;
inline constexpr std::size_t kRulesPerPageMax = 50'000;

/// Pools on one page, and the bytes of their messages after which it ends. The largest pool, of
/// 1,024 backends, has some 300 KB, so a page fits into those 4 MiB in any case.
inline constexpr std::size_t kPoolsPerPageMax = 1'000;
inline constexpr std::size_t kPoolPageBytes = 1024 * 1024;

/// Backends that the status names because they are unavailable: as many as a person reads. The
/// status has the number of all, and the listing of pools has each.
inline constexpr std::size_t kUnavailableShownMax = 100;

/// Concurrent snapshots: each is a second copy of the database on disk, and uses a thread while its
/// client reads.
inline constexpr std::size_t kSnapshotsMax = 4;
/// Bytes of a snapshot in one message: large enough that the framing costs nothing, well below the
/// 4 MiB that clients take.
inline constexpr std::size_t kSnapshotChunkBytes = 1024 * 1024;

/// How long a client may take to read a snapshot: 100 MB through 1.5 Mbit/s.
inline constexpr std::chrono::minutes kSnapshotWaitMax{10};

/// Concurrent watches of events: some people and programs. Each keeps a thread, and polls at this
/// interval: soon enough for a person, and seldom enough that ten changes of policy a second cost a
/// watch no more than one read of the audit table each.
inline constexpr std::size_t kWatchesMax = 8;
inline constexpr std::chrono::milliseconds kWatchPeriod{50};

/// What a watch reads at a time from the audit table (1.5 KB each at most) and from the hub.
inline constexpr std::size_t kChangesPerRead = 1000;
inline constexpr std::size_t kEventsPerRead = 256;

/// Concurrent calls that list or close connections. Each has a sweep with every worker; a worker's
/// other places are for cuts by the firewall.
inline constexpr std::size_t kConnectionCallsMax = 4;

static_assert(control::kWaitingMax + kSnapshotsMax + kWatchesMax + kConnectionCallsMax + 16 <=
                  kThreadsMax,
              "some threads are left for those who only want to know");

/// Connections in one message: of the largest kind (1 KB, most of it host names) they are a
/// fraction of the 4 MiB that clients take.
inline constexpr std::size_t kConnectionsPerMessage = 500;

/// How long a client may take to read a listing: a person with a pager.
inline constexpr std::chrono::minutes kListingWaitMax{10};

/// Servers that have handed over and still have connections: as many as there are upgrades on a
/// busy day. Each costs memory and rings of its own; beyond this the oldest are stopped.
inline constexpr std::size_t kDrainingMax = 8;

/// How long one of them may take to reply, while a call for the status waits; and to close
/// connections, 20,000 a second for each worker.
inline constexpr std::chrono::milliseconds kDrainingReplyMax{1000};
inline constexpr std::chrono::milliseconds kDrainingCloseMax{60'000};

/// How often a connection with a call probes whether the client's machine is still there, and how
/// long it waits for the reply: a vanished one would keep a watch's place for ever.
inline constexpr std::chrono::milliseconds kKeepaliveTime{60'000};
inline constexpr std::chrono::milliseconds kKeepaliveWaitMax{20'000};

/// How long a stop waits for watches to send the last events, and their end, before gRPC closes
/// their connections: else clients would see another error.
inline constexpr std::chrono::milliseconds kStreamsGrace{200};

/// How long a stop waits for calls under way. None of them is a change by then: what is left are
/// replies on their way, and watches of the health service, which would never end.
inline constexpr std::chrono::milliseconds kShutdownGrace{500};

/// How long before its certificate expires the server begins to warn, once a day.
inline constexpr std::chrono::days kExpiryWarning{14};

}  // namespace mc::admin
