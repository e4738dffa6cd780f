/* SPDX-License-Identifier: Apache-2.0 */
/* Overlay of mc-proxy, in place of the header that libmaxminddb's configure writes. */
#pragma once

#define MMDB_UINT128_USING_MODE 0
#ifdef __SIZEOF_INT128__
#define MMDB_UINT128_IS_BYTE_ARRAY 0
#else
#define MMDB_UINT128_IS_BYTE_ARRAY 1
#endif
