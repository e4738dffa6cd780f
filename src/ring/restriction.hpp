// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a ring may be used for, during its whole life: the operations that its thread uses and no
// others. A seccomp filter does not see what a ring does (io_uring_register(2),
// IORING_REGISTER_RESTRICTIONS).

#include <liburing.h>

namespace mc::ring {

// Of the ring of a worker. Every ring reads: its wake-up.
inline constexpr int kOperations[] = {IORING_OP_ACCEPT,      IORING_OP_RECV,   IORING_OP_CONNECT,
                                      IORING_OP_POLL_ADD,    IORING_OP_SPLICE, IORING_OP_READ,
                                      IORING_OP_ASYNC_CANCEL};
inline constexpr int kRegistrations[] = {IORING_REGISTER_RING_FDS, IORING_UNREGISTER_RING_FDS,
                                         IORING_REGISTER_PBUF_RING, IORING_UNREGISTER_PBUF_RING};

}  // namespace mc::ring
