// SPDX-License-Identifier: Apache-2.0
// The configuration as a file: read in whole, or as far as a client needs it to reach the server.

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

#include "base/fd.hpp"
#include "config/config.hpp"
#include "config/limits.hpp"
#include "config/read_tree.hpp"
#include "config/section.hpp"
#include "config/toml.hpp"

namespace mc::config {
namespace {

/// The whole file, or why not.
Result<std::string> read_file(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd && errno == ENOENT) return fail("there is no such file; name the configuration with -c");
  if (!fd && errno == EACCES) {
    return fail(
        "the file cannot be read: Permission denied; the user that mc-proxy runs as needs read "
        "permission");
  }
  if (!fd) return fail(fmt::format("the file cannot be opened: {}", std::strerror(errno)));
  std::string text;
  char buffer[16384];
  while (text.size() <= kConfigBytesMax) {
    const ssize_t size = ::read(fd.get(), buffer, sizeof(buffer));
    if (size == 0) return text;
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno == EISDIR)
      return fail("this is a directory; write the path of the file in it");
    if (size < 0) return fail(fmt::format("the file cannot be read: {}", std::strerror(errno)));
    text.append(buffer, static_cast<std::size_t>(size));
  }
  return fail(
      fmt::format("the file is larger than {} bytes, the most that a configuration may have; "
                  "add routes and rules at run time instead",
                  kConfigBytesMax));
}

/// The text under `key` in the table [table], from a file that is not valid TOML: from the first
/// line that has one.
std::string scan(std::string_view text, std::string_view table, std::string_view key) {
  std::string_view current;
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const auto trim = [](std::string_view word) {
      while (!word.empty() && (word.front() == ' ' || word.front() == '\t')) word.remove_prefix(1);
      while (!word.empty() && (word.back() == ' ' || word.back() == '\t' || word.back() == '\r')) {
        word.remove_suffix(1);
      }
      return word;
    };
    line = trim(line);
    if (line.starts_with('[')) {
      const auto end = line.find(']');
      current = trim(line.substr(1, end == line.npos ? line.npos : end - 1));
    }
    const auto equals = line.find('=');
    if (current != table || equals == line.npos || trim(line.substr(0, equals)) != key) continue;
    const std::string_view value = trim(line.substr(equals + 1));
    const auto close = value.starts_with('"') ? value.find('"', 1) : value.npos;
    if (close != value.npos) return std::string(value.substr(1, close - 1));
  }
  return {};
}

}  // namespace

Parsed load(const std::string& path, NamedFiles files) {
  const auto text = read_file(path);
  if (text) return load_from_text(*text, path, files);
  Problems problems(path);
  problems.add(kWholeFile, "", text.error().message);
  return std::unexpected(std::move(problems).sorted());
}

Whereabouts locate_server(const std::string& path) {
  Problems problems(path);
  const auto text = read_file(path);
  if (!text) {
    problems.add(kWholeFile, "", text.error().message);
    return {.grpc = {}, .database_path = {}, .problems = std::move(problems).sorted()};
  }
  Whereabouts found;
  if (const auto tree = parse_toml(*text)) {
    Config config = read_tree(*tree, NamedFiles::kIgnored, problems);
    found.grpc = std::move(config.grpc);
    found.database_path = std::move(config.database.path);
  } else {
    problems.add(tree.error().position, "", tree.error().message);
    found.database_path = scan(*text, "database", "path");
    const std::string socket = scan(*text, "grpc", "socket");
    if (!socket.empty()) found.grpc.emplace().socket = socket;
  }
  found.problems = std::move(problems).sorted();
  return found;
}

}  // namespace mc::config
