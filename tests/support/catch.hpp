// SPDX-License-Identifier: Apache-2.0
#pragma once
// The Catch2 of the system, whichever it is: Debian 12 ships version 2, Debian 13 version 3.

#if __has_include(<catch2/catch_test_macros.hpp>)
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators_all.hpp>
#else
#include <catch2/catch.hpp>
#endif
