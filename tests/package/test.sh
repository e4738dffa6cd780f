#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs, upgrades, removes and purges a package in a clean Debian without systemd running, as in a container.
#
#   test.sh PACKAGE.deb TREE    TREE: a Debian made by debootstrap; it is not changed. Needs root.
#
# Prints `ok NAME` or `FAIL NAME` for each step, and ends with "N passed, N failed". tests/vm has what needs systemd.
set -euo pipefail

package=$(realpath "$1")
tree=$(realpath "$2")
work=$(mktemp -d "$(dirname "$package")/package-test.XXXXXX")
root=$work/root
mkdir "$work"/{upper,work,root}
cleanup() {
  umount "$root/proc" 2>/dev/null || true
  umount "$root" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
mount -t overlay overlay -o "lowerdir=$tree,upperdir=$work/upper,workdir=$work/work" "$root"
mount -t proc proc "$root/proc"
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
cp "$package" "$root/tmp/mc-proxy.deb"

inside() { chroot "$root" env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"; }
state=$root/srv/mc-proxy
passed=0 failed=0
step() { # step NAME: the function of that name, under set -e
  local log=$work/log status
  # Not as the condition of an `if`: there, and in what it calls, the shell ignores set -e.
  set +e
  (set -e; "$1") >"$log" 2>&1
  status=$?
  set -e
  if [ $status = 0 ]; then
    echo "ok $1"
    passed=$((passed + 1))
  else
    echo "FAIL $1"
    tail -n 30 "$log"
    failed=$((failed + 1))
  fi
}
# `test`, but says what did not hold; `!` alone would be invisible to set -e.
holds() { test "$@" || { echo "does not hold: $*"; exit 1; }; }

newer() { # makes /tmp/newer.deb: the same package with a higher version
  rm -rf "$work/newer"
  dpkg-deb -R "$package" "$work/newer"
  sed -i 's/^Version: .*/&+newer/' "$work/newer/DEBIAN/control"
  dpkg-deb -Znone -b "$work/newer" "$root/tmp/newer.deb"
}
put_files() { # what an operator has
  install -o root -g root -m 0640 "$root/usr/share/doc/mc-proxy/examples/mc-proxy.toml" "$state/mc-proxy.toml"
  echo '# mine' >>"$state/mc-proxy.toml"
  echo precious >"$state/mc-proxy.db"
  echo precious >"$state/backups/mc-proxy-20261122-120000.db"
  echo precious >"$state/backups/mc-proxy-20261123-120000.db"
  echo precious >"$state/certs/site.key"
  inside chown mc-proxy:mc-proxy /srv/mc-proxy/{mc-proxy.db,backups/mc-proxy-20261122-120000.db,certs/site.key}
  chmod 0600 "$state"/{mc-proxy.db,backups/*.db,certs/site.key}
  chmod 0700 "$state" "$state/backups"
  files_of_the_operator >"$work/files" # a file, because each step is a shell of its own
}
files_of_the_operator() { # name, mode and owner of everything, and what is in the files
  (cd "$state" && find . -exec stat -c '%n %F %a %u:%g' {} + | sort && find . -type f -exec md5sum {} + | sort)
}
files_are_as_they_were() {
  holds "$(wc -l <"$work/files")" = 13 # 3 directories, and 5 files twice
  files_of_the_operator | diff "$work/files" -
}

installs_on_a_clean_system() {
  inside apt-get -q update
  inside apt-get -q -y --no-install-recommends install /tmp/mc-proxy.deb | tee "$work/said"
  grep -q 'not started, because there is no /srv/mc-proxy/mc-proxy.toml' "$work/said"
  inside mc-proxy version
  inside getent passwd mc-proxy | grep -q ':/srv/mc-proxy:/usr/sbin/nologin$'
  local directory
  for directory in . backups certs; do
    holds "$(inside stat -c '%U:%G %a' "/srv/mc-proxy/$directory")" = 'mc-proxy:mc-proxy 750'
  done
  holds -z "$(find "$state" -type f)"
  holds -L "$root/etc/systemd/system/multi-user.target.wants/mc-proxy.service"
  holds -L "$root/etc/systemd/system/timers.target.wants/mc-proxy-backup.timer"
  holds ! -e "$root/etc/systemd/system/sockets.target.wants/mc-proxy.socket"
}
has_an_example_that_is_sound() {
  inside mc-proxy check -c /usr/share/doc/mc-proxy/examples/mc-proxy.toml >"$work/said" || [ $? = 1 ] # no io_uring here?
  cat "$work/said"
  grep -q '^ok *configuration' "$work/said"
  grep -q '^note *admin socket .*RuntimeDirectory' "$work/said"
}
upgrades_and_leaves_what_is_the_operators() {
  put_files
  newer
  inside dpkg -i /tmp/newer.deb
  inside dpkg-query -W -f '${Version}' mc-proxy | grep -q '+newer$'
  files_are_as_they_were
}
is_removed_and_leaves_what_is_the_operators() {
  inside dpkg --remove mc-proxy
  holds ! -e "$root/usr/bin/mc-proxy"
  files_are_as_they_were
}
is_purged_and_says_what_it_leaves() {
  inside dpkg --purge mc-proxy >"$work/said"
  grep -q '/srv/mc-proxy is kept' "$work/said"
  files_are_as_they_were
  holds ! -e "$root/etc/systemd/system/multi-user.target.wants/mc-proxy.service"
  holds -z "$(inside dpkg-query -W -f '${Status}' mc-proxy 2>/dev/null)"
  inside getent passwd mc-proxy
}
comes_back_to_its_files() {
  inside dpkg -i /tmp/newer.deb | tee "$work/said"
  holds -z "$(grep 'not started' "$work/said")"
  files_are_as_they_were
}
leaves_nothing_where_there_was_nothing() {
  rm -rf "${state:?}"/{mc-proxy.toml,mc-proxy.db,backups/*,certs/*}
  inside dpkg --purge mc-proxy
  holds ! -e "$state"
  holds -z "$(find "$root"/{etc,usr,var/lib/systemd} -path "$root/usr/share/man" -prune -o -name 'mc-proxy*' -print)"
}

for name in installs_on_a_clean_system has_an_example_that_is_sound upgrades_and_leaves_what_is_the_operators \
  is_removed_and_leaves_what_is_the_operators is_purged_and_says_what_it_leaves comes_back_to_its_files \
  leaves_nothing_where_there_was_nothing; do
  step "$name"
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
