// SPDX-License-Identifier: Apache-2.0
#pragma once
// The data plane's limits, each with its reason.

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace mc::proxy {

// Descriptors that are neither sessions nor grow with workers and listeners: logs, the database,
// the admin API with 128 connections, metrics, pipes' share, those of operators. What is left of
// RLIMIT_NOFILE, halved (a session has two sockets), bounds the connections when max_connections is
// 0.
inline constexpr std::uint64_t kDescriptorsReserved = 256;

// Pipes that one worker's directions may hold with bytes stuck in them. Beyond it a direction
// copies through the worker's scratch buffer. At kPipeBytes each this bounds the pages that stalled
// readers can pin.
inline constexpr std::size_t kPipesPerWorker = 512;

// Capacity asked of a pipe. Measured per GB moved: 0.25 CPU s at 1 MiB, 0.27 at 256 KiB, 0.37 at 64
// KiB; a pipe that is stuck pins up to this much, so the middle. Without privilege a user has 16384
// pages of pipe, and pipes beyond them get two slots: they work, only slower.
inline constexpr int kPipeBytes = 256 * 1024;

// The same of the one that a worker moves everything through as long as no socket blocks: it has
// 256 slots, and a splice that brought fewer bytes than that cannot have left any for want of room.
inline constexpr int kBusiestPipeBytes = 1024 * 1024;

// Empty pipes that a worker keeps for the next turn. One is enough for a worker whose sockets never
// block.
inline constexpr std::size_t kPipesKept = 16;

// Bytes that one direction may move in one turn of the ring, so that bulk flows leave the others
// their share.
inline constexpr std::size_t kBytesPerTurn = 1024 * 1024;

// A splice that brought less than this is the last for now, unless the question whether more is
// there says otherwise (0.4 us); one that brought more is followed by the next splice: most of the
// time a stream goes on.
inline constexpr std::size_t kLittleBytes = 16 * 1024;

// After a splice that brought fewer bytes than its pipe has slots the question is put off for so
// long: nothing but an urgent byte (or a kernel out of memory) can be there then. A connection that
// is busy pays for it five times a second instead of with every message.
inline constexpr std::chrono::milliseconds kUrgentRecheck{200};

// Bytes copied at a time where a splice cannot serve (urgent data, no pipe left).
inline constexpr std::size_t kCopyBytes = 64 * 1024;

// How long a listener rests after EMFILE and its kin before it tries to accept again.
inline constexpr std::chrono::milliseconds kAcceptPause{100};

// Sessions that a worker looks at in one turn for an order (Sweep): some 0.2 ms of cache
// misses and lookups. A million sessions on two workers take some 120 turns.
inline constexpr std::size_t kVisitsPerTurn = 4096;

// Sessions that an order resets in one turn. Linux 6.18 hands out 20 completions a turn, and a
// relay's end takes two: more would pile up before those of the other sessions. Measured with 4000
// relays, 43 us each: with 8 a turn the others waited for some 2 ms, with 32 for 80 ms, at the same
// speed.
inline constexpr std::size_t kResetsPerTurn = 8;

// Sessions that a listing copies in one turn: some 0.2 ms, most of it for the texts.
inline constexpr std::size_t kRowsPerTurn = 512;

// Copied sessions that wait for the thread that asked for a listing, at some 300 bytes each; what
// each worker copies in a turn may come on top. Where nobody takes them the order rests.
inline constexpr std::size_t kRowsWaitingMax = 2 * kRowsPerTurn;

// How long that thread waits at a time before it looks whether its caller is still there.
inline constexpr std::chrono::milliseconds kResultsWaitMax{100};

// Orders that a worker has at a time, one slice of one of them in each turn. A cut keeps its
// firewall in memory (32 MB for a million addresses), so whoever orders more waits, and asks again
// this often.
inline constexpr std::size_t kSweepsMax = 16;
inline constexpr std::chrono::milliseconds kSweepRetry{1};

// An idle timeout up to this makes keep-alive pointless: the kernel would first ask a silent peer
// after as long (net.ipv4.tcp_keepalive_time).
inline constexpr std::chrono::hours kIdleBeforeKeepAlive{2};

// How long a partial hello rests when the kernel reports it readable although nothing came
// (SO_RCVLOWAT is capped by the receive buffer), so that it cannot spin.
inline constexpr std::chrono::milliseconds kHelloRetry{20};

// How often a worker that has passed its deadline resets what it has: a listener may still be
// handing over what it had accepted.
inline constexpr std::chrono::milliseconds kResetAgain{10};

}  // namespace mc::proxy
