// SPDX-License-Identifier: Apache-2.0
#pragma once
// The Catch2 of the system: Debian 12 has version 2, Debian 13 version 3.
//
// MC_SKIP(reason) ends a test that cannot be made here, in the test case's own function. Version 2
// has no skip: summary.py counts the line that this writes as one.

#if __has_include(<catch2/catch_test_macros.hpp>)
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators_all.hpp>
#define MC_SKIP(reason) SKIP(reason)
#else
#include <catch2/catch.hpp>

#include <iostream>
#define MC_SKIP(reason)                                \
  do {                                                 \
    std::cout << "skipped: " << (reason) << std::endl; \
    return;                                            \
  } while (false)
#endif
