/* SPDX-License-Identifier: Apache-2.0 */
/* Overlay of mc-proxy, in place of the header that liburing's configure writes: what liburing.h expects of its system,
 * which kernel headers have since 5.6, and one name that they lacked until 6.12. */
#pragma once

#include <linux/ioctl.h>
#include <linux/openat2.h>
#include <linux/time_types.h>

/* io_uring.h need not include it again. */
#define UAPI_LINUX_IO_URING_H_SKIP_LINUX_TIME_TYPES_H 1

#ifndef BLOCK_URING_CMD_DISCARD
#define BLOCK_URING_CMD_DISCARD _IO(0x12, 0)
#endif
