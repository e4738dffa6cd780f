// SPDX-License-Identifier: Apache-2.0
#include "lifecycle/spawn.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <unistd.h>

#include <cerrno>

namespace mc::lifecycle {

pid_t spawn(const std::vector<std::string>& words, ChildStreams streams, ChildSession session) {
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  if (streams.out >= 0) {
    ::posix_spawn_file_actions_adddup2(&files, streams.out, STDOUT_FILENO);
  }
  if (streams.err >= 0) {
    ::posix_spawn_file_actions_adddup2(&files, streams.err, STDERR_FILENO);
  }
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  const bool own = session == ChildSession::kOwn;
  ::posix_spawnattr_setflags(&attributes, own ? POSIX_SPAWN_SETSID : 0);
  pid_t pid = -1;
  errno = ::posix_spawnp(&pid, words.front().c_str(), &files, &attributes, argv.data(), environ);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&files);
  return errno == 0 ? pid : -1;
}

}  // namespace mc::lifecycle
