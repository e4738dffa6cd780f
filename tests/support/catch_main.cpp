// SPDX-License-Identifier: Apache-2.0
// The main() of a test program. Catch2 version 3 brings its own, in the library Catch2Main.

#if !__has_include(<catch2/catch_test_macros.hpp>)
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
#endif
