/* SPDX-License-Identifier: Apache-2.0 */
/* Overlay of mc-proxy, in place of the header that liburing's configure writes. Goes with the version in the wrap. */
#pragma once

#define IO_URING_VERSION_MAJOR 2
#define IO_URING_VERSION_MINOR 9
