// SPDX-License-Identifier: Apache-2.0
#pragma once
// The data plane's limits, each with its reason.

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace mc::proxy {

// Descriptors that are not sessions and do not grow with workers and listeners: 256 health checks
// under way, the admin API with 128 connections, logs, the database, metrics, the pipes' share, the
// operators' share. Those of checks count without pools, too: a pool can be added at any time, the
// limit of connections stays. The rest of RLIMIT_NOFILE, halved (a session has two sockets), bounds
// the connections when max_connections is 0.
inline constexpr std::uint64_t kDescriptorsReserved = 512;

// Pipes that one worker's directions may hold with bytes stuck in them. Beyond that a direction
// copies through the worker's scratch buffer. At kPipeBytes each this bounds the pages that stalled
// readers can pin.
inline constexpr std::size_t kPipesPerWorker = 512;

// Requested capacity of a pipe. Measured per GB moved: 0.25 CPU s at 1 MiB, 0.27 at 256 KiB, 0.37
// at 64 KiB; a stuck pipe pins up to this much, so the middle. Without privilege a user has 16384
// pages of pipe, and pipes beyond them get two slots: they work, only slower.
inline constexpr int kPipeBytes = 256 * 1024;

// The same for the pipe that a worker moves everything through while no socket blocks: it has 256
// slots. A splice that moved fewer bytes than that cannot have left any because the pipe was full.
inline constexpr int kBusiestPipeBytes = 1024 * 1024;

// Empty pipes that a worker keeps for the next turn. One is enough for a worker whose sockets never
// block.
inline constexpr std::size_t kPipesKept = 16;

// Bytes that one direction may move in one turn of the ring, so that bulk flows leave the others
// their share.
inline constexpr std::size_t kBytesPerTurn = 1024 * 1024;

// After a splice that moved less than this, check whether more is there (0.4 us) before the next
// splice. After a larger one just splice again: most of the time the stream continues.
inline constexpr std::size_t kLittleBytes = 16 * 1024;

// How long that check is put off after a splice that moved fewer bytes than its pipe has slots:
// only an urgent byte (or a kernel out of memory) can have left any then. A busy connection pays
// for the check five times a second instead of with every message.
inline constexpr std::chrono::milliseconds kUrgentRecheck{200};

// Bytes copied at a time where splice cannot be used (urgent data, no pipe left).
inline constexpr std::size_t kCopyBytes = 64 * 1024;

// The kernel gives no port below this to a socket that connects: net.ipv4.ip_local_port_range
// cannot begin in the privileged ports (ip(7)), which end here unless ip_unprivileged_port_start is
// lowered, too.
inline constexpr std::uint16_t kLocalPortMin = 1024;

// How long a dial waits while the queue of a Unix socket is full, before it tries again.
inline constexpr std::chrono::milliseconds kUnixQueueRetry{10};

// How long a listener waits after EMFILE and similar errors before it accepts again.
inline constexpr std::chrono::milliseconds kAcceptPause{100};

// Sessions that a worker visits in one turn for a sweep: some 0.2 ms of cache misses and lookups. A
// million sessions on two workers take some 120 turns.
inline constexpr std::size_t kVisitsPerTurn = 4096;

// Sessions that a sweep resets in one turn. Linux 6.18 returns 20 completions a turn, and a relay's
// end takes two: more would queue ahead of those of the other sessions. Measured with 4000 relays,
// 43 us each: with 8 a turn the others waited some 2 ms, with 32 80 ms, at the same speed.
inline constexpr std::size_t kResetsPerTurn = 8;

// Sessions that a listing copies in one turn: some 0.2 ms, most of it for the texts.
inline constexpr std::size_t kRowsPerTurn = 512;

// Copied sessions that wait for the thread that requested a listing, at some 300 bytes each, plus
// what each worker copies in a turn. While nobody takes them the sweep pauses.
inline constexpr std::size_t kRowsWaitingMax = 2 * kRowsPerTurn;

// How long that thread waits at a time before it checks whether its caller is still there.
inline constexpr std::chrono::milliseconds kResultsWaitMax{100};

// Sweeps that a worker has at a time; it does one slice of one of them in each turn. A cut keeps
// its firewall in memory (32 MB for a million addresses), so a thread with more waits, and retries
// at this interval.
inline constexpr std::size_t kSweepsMax = 16;
inline constexpr std::chrono::milliseconds kSweepRetry{1};

// An idle timeout up to this makes keep-alive pointless: the kernel first probes a silent peer
// after the same time (net.ipv4.tcp_keepalive_time).
inline constexpr std::chrono::hours kIdleBeforeKeepAlive{2};

// How long a partial hello waits when the kernel reports it readable although no byte came
// (SO_RCVLOWAT is capped by the receive buffer), so that it cannot spin.
inline constexpr std::chrono::milliseconds kHelloRetry{20};

// How long, and for how many bytes, a client that got the proxy's own reply may go on to send, so
// that a close does not reset what it has not read yet. A client that reads an alert closes at
// once; 64 KiB of early data (RFC 8446, section 4.2.10) may be on the way.
inline constexpr std::chrono::milliseconds kLingerMax{1000};
inline constexpr std::size_t kLingerBytesMax = 64 * 1024;

// How often a worker past its deadline resets its sessions again: a listener may still be admitting
// clients that it had accepted.
inline constexpr std::chrono::milliseconds kResetAgain{10};

}  // namespace mc::proxy
