/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded (ld.so(8)): appends to the file of SYNC_SPY which files the process makes durable, and
 * how: "fdatasync /srv/mc-proxy/mc-proxy.db-wal". The file is opened first, while the process may
 * still open any. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int log_fd = -1;

__attribute__((constructor)) static void open_log(void) {
  const char* path = getenv("SYNC_SPY");
  if (path != NULL) log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int spy(const char* name, int fd) {
  char link[64], path[1024], line[1200];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t size = readlink(link, path, sizeof path - 1);
  path[size < 0 ? 0 : size] = '\0';
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
  const int result = real(fd);
  const int length = snprintf(line, sizeof line, "%s %s\n", name, path);
  if (result == 0 && log_fd >= 0 && write(log_fd, line, (size_t)length) < 0) abort();
  return result;
}

int fsync(int fd) { return spy("fsync", fd); }
int fdatasync(int fd) { return spy("fdatasync", fd); }
