#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs guest.py in a Debian of its own with systemd as process 1, with the package under test beside it.

  vm.py nspawn PACKAGE.deb [NAME…]   in systemd-nspawn: this machine's kernel, at full speed
  vm.py qemu PACKAGE.deb [NAME…]     in QEMU without KVM: Debian's own kernel, and limits that a container cannot enforce

The Debian is that of this machine. It is made once by debootstrap, with what the package depends on, and kept in build/vm;
each run works on a layer above it that is thrown away. Needs root. Ends with guest.py's last line: "N passed, N failed".
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = REPOSITORY / "build/vm"

# The longest that a run may take, in seconds: a quarter more than three times what it takes here.
NSPAWN_SECONDS = 600
QEMU_SECONDS = 1200

PACKAGES = (
    "systemd systemd-sysv dbus udev kmod iproute2 procps ca-certificates openssl curl sqlite3 python3 busybox-static "
    "python3-pytest python3-grpcio python3-protobuf protobuf-compiler man-db"
).split()

# Of the image's units, those that a throw-away machine does not need.
MASKED = (
    "getty.target console-getty.service apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service "
    "fstrim.timer dpkg-db-backup.timer man-db.timer systemd-networkd-wait-online.service systemd-hwdb-update.service "
    "systemd-resolved.service"
).split()

UNIT = """\
[Unit]
Description=the test
After=basic.target network.target dbus.socket
[Service]
Type=exec
StandardOutput=null
StandardError=null
ExecStart=/usr/local/sbin/vm-test
"""

# Where the guest's words go, and how its files come in, differs; the end is the same: the exit code, then no power.
# sh -c ENTER sh CGROUP… -- COMMAND…: the command, in these cgroups.
ENTER = """\
while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs" || exit 1; shift; done
shift
exec "$@"
"""

RUN = """\
#!/bin/bash
exec >{output} 2>&1 </dev/null
{prepare}
export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
cd /payload && python3 -u guest.py {arguments}
echo "@@exit $?"
sync; sleep 0.2; systemctl poweroff -ff >/dev/null 2>&1
"""

# The first process in QEMU: Debian's kernel has its disk as modules.
INIT = """\
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
for module in /modules/*.ko; do /bin/busybox insmod $module; done
/bin/busybox mount -t ext4 /dev/vda /root
exec /bin/busybox switch_root /root /sbin/init
"""


def run(*words: object, **options) -> str:
    done = subprocess.run([str(word) for word in words], text=True, capture_output=True, **options)
    if done.returncode != 0:
        sys.exit(f"vm-test: {' '.join(map(str, words))}: exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


# ---- the image


def codename() -> str:
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return release["VERSION_CODENAME"].strip('"')


def image(deb: Path) -> Path:
    """The folder of a Debian with everything that the package depends on."""
    depends = run("dpkg-deb", "-f", deb, "Depends")
    recipe = f"1 {codename()} {depends} {' '.join(PACKAGES)} {' '.join(MASKED)}"
    root = CACHE / f"debian-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    if (root / "made").exists():
        return root / "root"
    print(f"vm-test: making {root}: some minutes", flush=True)
    for old in CACHE.glob("debian-*"):
        shutil.rmtree(old)
    tree = root / "root"
    tree.parent.mkdir(parents=True)
    run("debootstrap", "--variant=minbase", codename(), tree)
    install(tree, [*PACKAGES, *filter(None, map(str.strip, depends.split(",")))])
    (tree / "etc/hostname").write_text("vm\n")
    (tree / "etc/hosts").write_text("127.0.0.1 localhost vm\n")
    (tree / "etc/fstab").write_text("")
    (tree / "etc/systemd/journald.conf").write_text("[Journal]\nStorage=volatile\n")
    units = tree / "etc/systemd/system"
    for name in MASKED:
        (units / name).unlink(missing_ok=True)
        (units / name).symlink_to("/dev/null")
    (units / "vm-test.service").write_text(UNIT)
    (units / "multi-user.target.wants").mkdir(exist_ok=True)
    (units / "multi-user.target.wants/vm-test.service").symlink_to("../vm-test.service")
    (tree / "payload").mkdir()
    (root / "made").touch()
    return tree


def install(tree: Path, wanted: list[str]) -> None:
    """By apt, for debootstrap takes names of packages only, and Debian 13's python3-grpcio depends on a virtual one."""
    # Nothing is started, and what is mounted for the packages' scripts goes with the shell.
    no_services = tree / "usr/sbin/policy-rc.d"
    no_services.write_text("#!/bin/sh\nexit 101\n")
    no_services.chmod(0o755)
    script = 'mount -t proc proc "$0/proc" && chroot "$0" apt-get -q -y --no-install-recommends satisfy "$@"'
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    run("unshare", "--mount", "sh", "-c", script, tree, *wanted, env=quiet)
    run("chroot", tree, "apt-get", "clean")
    no_services.unlink()


def payload(deb: Path, folder: Path) -> None:
    """What the guest finds in /payload."""
    folder.mkdir()
    shutil.copy(deb, folder / "mc-proxy.deb")
    for path in (
        "RUNBOOK.md", "tests/vm/guest.py", "tests/vm/traffic.py", "tests/support/runbook.py", "tests/support/scenarios.py",
        "tests/e2e/lib/hello.py", "tests/e2e/lib/stopped_thread.py",
    ):  # fmt: skip
        shutil.copy(REPOSITORY / path, folder)
    shutil.copytree(REPOSITORY / "tests/e2e", folder / "tests/e2e", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(REPOSITORY / "tests/support", folder / "tests/support")
    shutil.copytree(REPOSITORY / "proto", folder / "proto")
    shutil.copytree(REPOSITORY / "systemd", folder / "systemd")
    run("perl", REPOSITORY / "tests/support/make_mmdb.pl", "country", folder / "country.mmdb")


# ---- nspawn


@contextlib.contextmanager
def mounted_layer(lower: Path, work: Path) -> Iterator[Path]:
    for name in ("upper", "work", "root"):
        (work / name).mkdir()
    layers = f"lowerdir={lower},upperdir={work}/upper,workdir={work}/work"
    run("mount", "-t", "overlay", "overlay", "-o", layers, work / "root")
    try:
        yield work / "root"
    finally:
        run("umount", "--lazy", work / "root")


@contextlib.contextmanager
def own_cgroups(name: str) -> Iterator[list[Path]]:
    """Where no systemd gives the container a place of its own: cgroups to be in."""
    hierarchies = [Path("/sys/fs/cgroup") / name for name in ("systemd", "unified", "pids", "memory")]
    made = [hierarchy / name for hierarchy in hierarchies if hierarchy.is_dir()]
    for group in made:
        group.mkdir(exist_ok=True)
    try:
        yield made
    finally:
        for group in made:
            for folder, _, _ in os.walk(group, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)


def nspawn(deb: Path, work: Path, arguments: str) -> int:
    name = f"mcvm{os.getpid()}"
    payload(deb, work / "payload")
    (work / "out").mkdir()
    log = work / "out/log"
    log.touch()
    with contextlib.ExitStack() as stack:
        root = stack.enter_context(mounted_layer(image(deb), work))
        script = root / "usr/local/sbin/vm-test"
        script.write_text(RUN.format(output="/out/log", prepare="", arguments=arguments))
        script.chmod(0o755)
        command = [
            "systemd-nspawn", "--quiet", "--boot", f"--directory={root}", f"--machine={name}", "--private-network",
            f"--bind={work}/out:/out", f"--bind={work}/payload:/payload", "--link-journal=no", "--console=read-only",
            # io_uring, limits and Landlock, which a container's default filter has not.
            "--system-call-filter=@aio @resources landlock_create_ruleset landlock_add_rule landlock_restrict_self",
        ]  # fmt: skip
        groups: list[Path] = []
        if not Path("/run/systemd/system").is_dir():
            command += ["--register=no", "--keep-unit"]
            groups = stack.enter_context(own_cgroups(name))
        with (work / "console").open("wb") as console:
            process = subprocess.Popen(
                ["sh", "-c", ENTER, "sh", *groups, "--", *command],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True,
            )  # fmt: skip
            return watched(process, log, work / "console", NSPAWN_SECONDS)


# ---- QEMU


def kernel(tree: Path) -> tuple[Path, Path]:
    """That Debian's kernel for clouds, and a first file system that has only the way to its disk."""
    folder = CACHE / f"kernel-{codename()}"
    if not (folder / "initrd").exists():
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "initrd.d/modules").mkdir(parents=True)
        metapackage = run("chroot", tree, "apt-cache", "depends", "linux-image-cloud-amd64")
        package = next(line.split()[-1] for line in metapackage.splitlines() if "Depends: linux-image" in line)
        run("chroot", tree, "sh", "-c", f"cd /tmp && apt-get -q download {package}")
        (deb,) = (tree / "tmp").glob(f"{package}_*.deb")
        run("dpkg-deb", "-x", deb, folder)
        deb.unlink()
        (image_file,) = (folder / "boot").glob("vmlinuz-*")
        image_file.rename(folder / "vmlinuz")
        make_initrd(tree, folder, image_file.name.removeprefix("vmlinuz-"))
    return folder / "vmlinuz", folder / "initrd"


def make_initrd(tree: Path, folder: Path, version: str) -> None:
    base = folder if (folder / "lib").exists() else folder / "usr"
    run("depmod", "-b", base, version)
    inside = folder / "initrd.d"
    for name in ("bin", "dev", "root"):
        (inside / name).mkdir()
    shutil.copy(tree / "bin/busybox", inside / "bin/busybox")
    (inside / "init").write_text(INIT)
    (inside / "init").chmod(0o755)
    copy_modules(base, version, ["virtio_pci", "virtio_blk", "virtio_console", "ext4"], inside / "modules")
    archive = subprocess.run(
        "find . | cpio -o -H newc", shell=True, cwd=inside, check=True, capture_output=True, env=os.environ
    ).stdout
    (folder / "initrd").write_bytes(archive)


def copy_modules(base: Path, version: str, names: list[str], folder: Path) -> None:
    """Those modules of the kernel, and what they need; to be loaded in the order of the files' names."""
    lines = run("modprobe", "-d", base, "-S", version, "-a", "--show-depends", *names).splitlines()
    modules = list(dict.fromkeys(line.split()[1] for line in lines if line.startswith("insmod ")))
    for index, module in enumerate(modules):
        target = folder / f"{index:02}.ko"
        if module.endswith(".xz"):
            target.write_bytes(subprocess.run(["xz", "-dc", module], check=True, capture_output=True).stdout)
        else:
            shutil.copy(module, target)


def disk(tree: Path, arguments: str) -> Path:
    """The image as a disk; the script is in it, so another one is made for other arguments."""
    prepare = "stty -F /dev/hvc0 raw -echo; tar -C /payload -xf /dev/vdb; mount -o remount,rw /"
    script = RUN.format(output="/dev/hvc0", prepare=prepare, arguments=arguments)
    file = tree.parent / f"disk-{hashlib.sha256(script.encode()).hexdigest()[:12]}.ext4"
    if not file.exists():
        for old in tree.parent.glob("disk-*"):
            old.unlink()
        (tree / "usr/local/sbin/vm-test").write_text(script)
        (tree / "usr/local/sbin/vm-test").chmod(0o755)
        part = file.with_suffix(".part")
        run("mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-m0", "-d", tree, part, "4G")
        part.rename(file)
    return file


def qemu(deb: Path, work: Path, arguments: str) -> int:
    payload(deb, work / "payload")
    return boot(image(deb), work, arguments)


def boot(tree: Path, work: Path, arguments: str, seconds: int = QEMU_SECONDS) -> int:
    """Runs work/payload/guest.py with the arguments in the image; what it said is in work/log then, too."""
    vmlinuz, initrd = kernel(tree)
    run("tar", "-C", work / "payload", "-b", "128", "-cf", work / "payload.tar", ".")
    log = work / "log"
    log.touch()
    command = [
        "nice", "-n", "10", "qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi,tb-size=512",
        "-cpu", "qemu64,+ssse3,+sse4.1,+sse4.2,+aes,+pclmulqdq,+popcnt", "-smp", "2", "-m", "2048",
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-kernel", vmlinuz, "-initrd", initrd,
        "-append", "console=ttyS0 quiet panic=-1 mitigations=off audit=0 loglevel=4",
        "-serial", f"file:{work}/console", "-device", "virtio-serial-pci",
        "-chardev", f"file,id=log,path={log}", "-device", "virtconsole,chardev=log",
        "-drive", f"file={disk(tree, arguments)},if=virtio,format=raw,snapshot=on",
        "-drive", f"file={work}/payload.tar,if=virtio,format=raw,readonly=on",
        "-device", "virtio-rng-pci",
    ]  # fmt: skip
    process = subprocess.Popen(
        [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    return watched(process, log, work / "console", seconds)


# ---- both


def watched(process: subprocess.Popen, log: Path, console: Path, seconds: int) -> int:
    """Prints the guest's output as it comes; its exit code, or 1 with the console's last lines if it sent none."""
    ended = threading.Event()

    def follow() -> None:
        begun = ""  # a line whose end has not come yet
        with log.open(errors="replace") as lines:
            while True:
                last = ended.is_set()
                for line in lines:
                    begun += line
                    if not begun.endswith("\n") and not last:
                        continue
                    if not begun.startswith("@@"):
                        print(begun.rstrip("\r\n"), flush=True)
                    begun = ""
                if last:
                    return
                ended.wait(0.1)

    follower = threading.Thread(target=follow)
    follower.start()
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        print(f"vm-test: ended after {seconds} s: it hangs", flush=True)
    finally:
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
            process.kill()
        process.wait()
        ended.set()
        follower.join()
    codes = [line.split()[1] for line in log.read_text(errors="replace").splitlines() if line.startswith("@@exit ")]
    if not codes:
        print(console.read_text(errors="replace")[-3000:])
        print("0 passed, 1 failed")
        return 1
    return int(codes[-1])


def main(arguments: list[str]) -> int:
    if len(arguments) < 2 or arguments[0] not in ("nspawn", "qemu") or not Path(arguments[1]).is_file():
        print(__doc__, file=sys.stderr)
        return 2
    kind, deb, *names = arguments
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock, tempfile.TemporaryDirectory(prefix="run-", dir=CACHE) as work:
        fcntl.flock(lock, fcntl.LOCK_EX)
        start = nspawn if kind == "nspawn" else qemu
        return start(Path(deb).resolve(), Path(work), " ".join([kind, *names]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
