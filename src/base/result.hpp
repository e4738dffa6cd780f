// SPDX-License-Identifier: Apache-2.0
#pragma once
// What fallible functions return outside the data plane: a value, or an Error that a person can act
// on. The data plane itself uses closed enums and errno values, which cost nothing to make.

#include <expected>
#include <string>
#include <utility>

namespace mc {

/// What went wrong, in a sentence that names the subject and, where there is one, the remedy.
struct Error {
  std::string message;
};

template <class T>
using Result = std::expected<T, Error>;

/// Shorthand for returning an error from a function that returns a Result.
[[nodiscard]] inline std::unexpected<Error> fail(std::string message) {
  return std::unexpected(Error{std::move(message)});
}

}  // namespace mc
