// SPDX-License-Identifier: Apache-2.0
#pragma once
// The admin API's limits, each with its reason.

#include <chrono>
#include <cstddef>

#include "control/limits.hpp"
#include "rpc/limits.hpp"

namespace mc::admin {

/// Connections at a time to the local socket, and to the TCP port: people and their scripts, and
/// whoever else can reach the port. Each costs a descriptor of those that the proxy lives on.
/// Further ones wait in the kernel.
inline constexpr std::size_t kLocalConnectionsMax = 64;
inline constexpr std::size_t kTcpConnectionsMax = 64;
/// Connections to either that wait in the kernel until they are accepted.
inline constexpr int kBacklog = 64;

/// How long accepting rests when there is no descriptor, or no place among the connections: nothing
/// announces the end of either.
inline constexpr std::chrono::milliseconds kAcceptPause{100};

/// How long a client of the TCP port may take until TLS and HTTP/2 are agreed upon: a few round
/// trips. Until then it has shown no certificate, and has one of kTcpConnectionsMax places.
inline constexpr std::chrono::milliseconds kHandshakeMax{10'000};

/// How long a connection, to either, may be without a call (gRPC adds or takes 10 %): it has a
/// place that others may wait for. Clients connect again by themselves with their next call.
inline constexpr std::chrono::milliseconds kIdleMax{60'000};

/// Where the descriptors of local connections begin, and after how many connections their numbers
/// begin again there. A number names a connection (see LocalSocket::peer), so it must not come
/// again soon.
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

/// Routes and rules on one page: with names of the longest kind (253 bytes and a backend's 50; a
/// rule's 45) they fit the 4 MiB that gRPC clients take unless told otherwise.
inline constexpr std::size_t kRoutesPerPageMax = 10'000;
inline constexpr std::size_t kRulesPerPageMax = 50'000;

/// Snapshots made at one time: each is a second copy of the database on disk, and a thread for as
/// long as its client reads.
inline constexpr std::size_t kSnapshotsMax = 4;
/// The piece of a snapshot that one message carries: large enough that the framing costs nothing,
/// well below the 4 MiB that clients take.
inline constexpr std::size_t kSnapshotChunkBytes = 1024 * 1024;

/// How long a client may take to read a snapshot: 100 MB through 1.5 Mbit/s.
inline constexpr std::chrono::minutes kSnapshotWaitMax{10};

/// Watches of events at one time: some people and programs. Each keeps a thread, and looks for news
/// this often: soon enough for a person, and seldom enough that ten changes of policy a second cost
/// a watch no more than one read of the audit table each.
inline constexpr std::size_t kWatchesMax = 8;
inline constexpr std::chrono::milliseconds kWatchPeriod{50};

/// What a watch takes from the audit table (1.5 KB each at most) and from the hub at a time.
inline constexpr std::size_t kChangesPerRead = 1000;
inline constexpr std::size_t kEventsPerRead = 256;

/// Calls at one time that list or close connections. Each has a sweep with every worker, whose
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

/// Servers that have been succeeded and still have connections: as many as there are upgrades on a
/// busy day. Each costs memory and rings of its own; of more, the oldest are stopped.
inline constexpr std::size_t kDrainingMax = 8;

/// How long one of them may take to reply, during which a call for the status waits; and to close
/// connections, 20,000 a second to a worker.
inline constexpr std::chrono::milliseconds kDrainingReplyMax{1000};
inline constexpr std::chrono::milliseconds kDrainingCloseMax{60'000};

/// How often a connection with a call is asked whether the client's machine is still there, and how
/// long for an answer: one that vanished would keep a watch's place for ever.
inline constexpr std::chrono::milliseconds kKeepaliveTime{60'000};
inline constexpr std::chrono::milliseconds kKeepaliveWaitMax{20'000};

/// How long a stop waits for watches to show what happened last, and to say that they end: before
/// gRPC closes their connections, or clients would be told something else.
inline constexpr std::chrono::milliseconds kStreamsGrace{200};

/// How long a stop waits for calls that are under way. No change is by then, so what is left are
/// answers on their way, and watches of the health service, which would stay for ever.
inline constexpr std::chrono::milliseconds kShutdownGrace{500};

/// How long before its end the server begins to warn of its certificate, once a day.
inline constexpr std::chrono::days kExpiryWarning{14};

}  // namespace mc::admin
