#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The container image, built and run for real: what `./dev container-test` does.

  container.py [NAME…]      all scenarios, or those with one of these words in their name

Podman plays docker: behind the command `docker`, and behind its socket for Compose. RUNBOOK.md's `sh container` blocks are
run as they stand there. All of it happens in namespaces of its own (files, processes, network), so that whatever a container
leaves behind is gone at the end, and no image, container, network or packet filter of this machine is touched. Only the
images stay, in build/container, where the next run finds the layers that have not changed.

No registry is needed: where none can be reached, a Debian made by debootstrap plays debian:*-slim. Needs root. Ends with
"N passed, N failed", and what this machine cannot do is skipped, with the reason.
"""

import contextlib
import http.client
import json
import os
import re
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests/support"))

import runbook  # noqa: E402
import scenarios  # noqa: E402

CACHE = REPOSITORY / "build/container"

# The longest that each half may take, in seconds: several times what it takes here.
BUILD_SECONDS = 5400
RUN_SECONDS = 600
# The longest for what is expected to happen at once.
PATIENCE = 20

DEBIAN = "bookworm"
BASE = f"docker.io/library/debian:{DEBIAN}-slim"
SITE = "localhost/mc-proxy-demo-site"
USER = 10443
SECTION = "In a container"

CALLS = {"io_uring_enter", "io_uring_register", "io_uring_setup"}
DEFAULT_PROFILE = Path("/usr/share/containers/seccomp.json")
PROFILE = REPOSITORY / "containers/seccomp.json"

# Docker, as far as the pages use it. Chroot isolation builds where a container cannot be had yet; what a machine does not
# allow to raise is lowered to what it does.
DOCKER = """\
#!/usr/bin/python3
import os, resource, sys

words = sys.argv[1:]
if words[0] == "build":
    words[1:1] = ["--format", "docker", "--isolation", "chroot", "--pull=never"]
descriptors, processes = (resource.getrlimit(which)[1] for which in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC))
for i, word in enumerate(words[:-1]):
    if word == "--ulimit" and words[i + 1].startswith("nofile="):
        words[i + 1] = f"nofile={min(int(words[i + 1].split('=')[1]), descriptors)}"
        words[i:i] = ["--ulimit", f"nproc={processes}"]  # or podman raises it
        break
os.execvp("podman", ["podman", *words])
"""

STORAGE = """\
[storage]
driver = "{driver}"
graphroot = "{root}"
runroot = "/run/containers/storage"
[storage.options]
additionalimagestores = [{images}]
"""

ENGINE = """\
[containers]
default_ulimits = ["nofile=1024:{descriptors}", "nproc={processes}:{processes}"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
"""


def say(text: str) -> None:
    print(text, flush=True)


def run(*words: object, fails: bool = False, seconds: float = 60, **options) -> str:
    """What the command prints, on both outputs. `fails`: it must end with another code than 0."""
    command = [str(word) for word in words]
    done = subprocess.run(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=seconds, **options
    )
    assert (done.returncode != 0) == fails, f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout[-3000:]}"
    return done.stdout


def until(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for: {what}"
        time.sleep(0.02)


# ---- a machine of its own


def settle(images: Path | None) -> None:
    """Makes these namespaces a machine: what the engine writes to is its own. `images`: where images are only read."""
    resolvers = Path("/etc/resolv.conf").read_text() if Path("/etc/resolv.conf").exists() else ""
    run("mount", "--make-rprivate", "/")
    layer = CACHE / "etc"
    layer.mkdir(parents=True, exist_ok=True)
    run("mount", "-t", "tmpfs", "tmpfs", layer)
    for name in ("upper", "work"):
        (layer / name).mkdir()
    run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir=/etc,upperdir={layer}/upper,workdir={layer}/work", "/etc")
    for folder in ("/run", "/srv", "/dev/shm", "/var/lib/cni"):
        if Path(folder).is_dir():
            run("mount", "-t", "tmpfs", "tmpfs", folder)
    Path("/etc/resolv.conf").unlink(missing_ok=True)
    Path("/etc/resolv.conf").write_text(resolvers)
    shutil.rmtree("/etc/cni/net.d", ignore_errors=True)

    driver = storage_driver()
    root = CACHE / "images" if images is None else Path("/srv/.storage")
    storage = STORAGE.format(driver=driver, root=root, images=f'"{images}"' if images else "")
    Path("/run/storage.conf").write_text(storage)
    descriptors, processes = (resource.getrlimit(which)[1] for which in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC))
    processes = processes if processes > 0 else 1 << 20
    Path("/run/containers.conf").write_text(ENGINE.format(descriptors=descriptors, processes=processes))
    Path("/run/bin").mkdir()
    Path("/run/bin/docker").write_text(DOCKER)
    Path("/run/bin/docker").chmod(0o755)
    os.environ |= {
        "PATH": f"/run/bin:{os.environ['PATH']}",
        "CONTAINERS_STORAGE_CONF": "/run/storage.conf",
        "CONTAINERS_CONF": "/run/containers.conf",
        "DISABLE_HC_SYSTEMD": "true",  # there is no systemd here to run health checks
        "HOME": "/run",
    }
    os.chdir(REPOSITORY)


def storage_driver() -> str:
    """overlay, where the kernel has it on this file system; else vfs, which copies and takes more room."""
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        for name in ("lower", "upper", "work", "root"):
            (Path(folder) / name).mkdir()
        layers = f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work"
        done = subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, f"{folder}/root"], capture_output=True)
        if done.returncode == 0:
            run("umount", f"{folder}/root")
    return "overlay" if done.returncode == 0 else "vfs"


def in_namespaces(half: str, seconds: int, *words: str) -> int:
    """Runs this program's other half as process 1 of namespaces; all that it starts ends with it."""
    network = ["--net"] if half == "run" else []
    command = ["unshare", "--mount", "--pid", "--ipc", *network, "--fork", "--kill-child", "--mount-proc"]
    process = subprocess.Popen([*command, sys.executable, "-u", __file__, f"@{half}", *words], stdin=subprocess.DEVNULL)
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        say(f"container-test: ended after {seconds} s: it hangs")
        return 1
    finally:
        process.kill()
        process.wait()


# ---- the images


def base_image() -> None:
    if subprocess.run(["podman", "image", "exists", BASE]).returncode == 0:
        return
    pulled = subprocess.run(["timeout", "60", "podman", "pull", "--quiet", BASE], capture_output=True, text=True)
    if pulled.returncode == 0:
        return
    say(f"container-test: {BASE} cannot be fetched; making one with debootstrap, a minute")
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        tree = Path(folder) / "tree"
        run("debootstrap", "--variant=minbase", DEBIAN, tree, seconds=1200)
        # As Debian's own -slim images are.
        for name in ("doc", "info", "lintian", "locale", "man"):
            shutil.rmtree(tree / "usr/share" / name, ignore_errors=True)
            (tree / "usr/share" / name).mkdir()
        excluded = "".join(f"path-exclude /usr/share/{name}/*\n" for name in ("doc", "info", "lintian", "locale", "man"))
        (tree / "etc/dpkg/dpkg.cfg.d/slim").write_text(excluded)
        for path in [*tree.glob("var/cache/apt/*"), *tree.glob("var/lib/apt/lists/*")]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        run("tar", "-C", tree, "-cf", f"{folder}/base.tar", ".", seconds=300)
        run("podman", "import", f"{folder}/base.tar", BASE, seconds=300)


def build() -> int:
    settle(None)
    base_image()
    began = time.monotonic()
    say("container-test: building the image; 15 minutes on two slow processors, seconds if nothing changed")
    run("bash", "-e", "-c", page(0), seconds=BUILD_SECONDS)
    run("docker", "build", "-t", SITE, "containers/demo", seconds=1200)
    # What has no name are the layers that the next build may find.
    run("podman", "image", "prune", "--force", "--filter", "until=168h")
    say(f"container-test: the images are there after {time.monotonic() - began:.0f} s")
    return 0


# ---- the page


def blocks() -> list[str]:
    """RUNBOOK.md's blocks that are marked `sh container`, in its order."""
    found = runbook.blocks(REPOSITORY / "RUNBOOK.md", "sh container")
    strays = {section for section, _ in found} - {SECTION}
    assert not strays, f"blocks for containers in sections {strays}: nobody would run them"
    return [commands for _, commands in found]


done_blocks: set[int] = set()


def page(index: int) -> str:
    done_blocks.add(index)
    return blocks()[index]


def do(index: int) -> str:
    """Runs a block of the page; returns its output."""
    return run("bash", "-e", "-c", page(index), seconds=120)


# ---- clients


class Connection:
    """A TLS client that stays, and sends the site request after request."""

    def __init__(self, name: str, port: int = 443):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._name = name
        self._socket = context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE), server_hostname=name)

    def certificate(self) -> bytes:
        return self._socket.getpeercert(binary_form=True) or b""

    def ask(self) -> str:
        self._socket.sendall(f"GET / HTTP/1.1\r\nHost: {self._name}\r\n\r\n".encode())
        answer = http.client.HTTPResponse(self._socket)
        answer.begin()
        return answer.read().decode().strip()

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def fetch(name: str, port: int = 443) -> str:
    """The page of the site of this name; its certificate proves that it is this one."""
    with Connection(name, port) as connection:
        said = connection.ask()
        assert name.encode() in connection.certificate(), f"another site's certificate, where {name} was asked for"
        return said


def is_served(name: str, port: int = 443) -> bool:
    try:
        fetch(name, port)
    except OSError:
        return False
    return True


class Clients:
    """One after the other, until it is stopped."""

    def __init__(self, name: str):
        self._name = name
        self._ended = threading.Event()
        self.served = 0
        self.failures: list[str] = []
        self._thread = threading.Thread(target=self._go, daemon=True)
        self._thread.start()

    def _go(self) -> None:
        while not self._ended.is_set():
            try:
                fetch(self._name)
                self.served += 1
            except (OSError, AssertionError, http.client.HTTPException) as error:
                self.failures.append(f"after {self.served}: {error!r}")

    def end(self) -> None:
        self._ended.set()
        self._thread.join()
        assert self.served > 0 and not self.failures, f"{self.served} served, but {self.failures[:3]}"


# ---- containers


def inspect(name: str, what: str) -> str:
    return run("podman", "inspect", "--format", f"{{{{{what}}}}}", name).strip()


def logs(name: str) -> str:
    return run("podman", "logs", name)


def process_status(name: str) -> dict[str, str]:
    text = Path(f"/proc/{inspect(name, '.State.Pid')}/status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """No container, volume or file of the page's before the scenario, nor after it."""
    clear()
    try:
        yield
    finally:
        clear()


def clear() -> None:
    def none_is_left() -> bool:
        names = run("podman", "ps", "--all", "--quiet").split()
        # One that is just being restarted cannot be removed: retry.
        for name in names[:1]:
            subprocess.run(["podman", "rm", "--force", "--depend", "--time", "0", "--volumes", name], capture_output=True)
        return not names

    until(none_is_left, "all containers are removed")
    run("podman", "volume", "prune", "--force")
    shutil.rmtree("/srv/mc-proxy", ignore_errors=True)


def need_bridge() -> None:
    probe = subprocess.run(
        ["podman", "run", "--rm", "-p", "127.0.0.1:9:9", "--entrypoint", "true", "mc-proxy"], capture_output=True, text=True
    )
    if probe.returncode != 0:
        raise scenarios.Skipped(f"the engine cannot make a network with a port here: {probe.stderr.strip()[-300:]}")


# ---- scenarios: the profile


def rules_of(profile: dict) -> list[tuple[str, str]]:
    """The profile's rule for each call, in its order."""
    return [
        (name, json.dumps({key: value for key, value in rule.items() if key not in ("names", "comment")}, sort_keys=True))
        for rule in profile["syscalls"]
        for name in rule["names"]
    ]


def made_from(path: Path) -> dict:
    return json.loads(run("containers/make-seccomp-profile", path))


def assert_only_three_more(profile: dict, default: dict) -> None:
    before, after = rules_of(default), rules_of(profile)
    assert [rule for rule in after if rule[0] not in CALLS] == [rule for rule in before if rule[0] not in CALLS]
    ours = [rule for rule in after if rule[0] in CALLS]
    assert {name for name, _ in ours} == CALLS and len(ours) == len(CALLS), ours
    for _, rule in ours:
        assert json.loads(rule) == {"action": "SCMP_ACT_ALLOW", "args": [], "includes": {}, "excludes": {}}, rule
    rest = [{key: value for key, value in one.items() if key != "syscalls"} for one in (profile, default)]
    assert rest[0] == rest[1]


def profile_is_this_machines_default_and_three_calls() -> None:
    default = json.loads(DEFAULT_PROFILE.read_text())
    assert_only_three_more(made_from(DEFAULT_PROFILE), default)
    # As newer defaults do: the calls are refused by name.
    refusing = Path("/srv/refusing.json")
    rule = {"names": ["bpf", *sorted(CALLS)], "action": "SCMP_ACT_ERRNO", "args": [], "includes": {}, "excludes": {}}
    refusing.write_text(json.dumps(default | {"syscalls": [rule, *default["syscalls"]]}))
    assert_only_three_more(made_from(refusing), json.loads(refusing.read_text()))
    assert "no seccomp profile" in run("containers/make-seccomp-profile", "/etc/passwd", fails=True)


def shipped_profile_is_made_from_the_default_that_it_names() -> None:
    named = re.search(r"`([0-9a-f]{64})`", (REPOSITORY / "containers/README.md").read_text())
    assert named, "containers/README.md names no sum"
    is_that = run("sha256sum", DEFAULT_PROFILE).split()[0] == named[1]
    if not is_that:
        raise scenarios.Skipped(f"{DEFAULT_PROFILE} is another version here than the one that containers/README.md names")
    made = run("containers/make-seccomp-profile", DEFAULT_PROFILE)
    assert PROFILE.read_text() == made, "make-seccomp-profile makes another one"


# ---- scenarios: the image


def image_is_small_and_says_what_it_is() -> None:
    image = json.loads(run("podman", "image", "inspect", "mc-proxy"))[0]
    base = json.loads(run("podman", "image", "inspect", BASE))[0]
    say(f"   {image['Size'] / 1e6:.0f} MB, of which {base['Size'] / 1e6:.0f} MB are Debian")
    assert image["Size"] - base["Size"] < 60e6
    config = image["Config"]
    assert config["User"] == f"{USER}:{USER}" and config["StopSignal"] in ("SIGTERM", "15"), config
    assert (config["Entrypoint"], config["Cmd"]) == (["mc-proxy"], ["server"])
    assert (list(config["Volumes"]), list(config["ExposedPorts"])) == (["/srv/mc-proxy"], ["443/tcp"])
    assert image["Healthcheck"]["Test"] == ["CMD", "mc-proxy", "status"], image
    labels = config["Labels"]
    said = run("podman", "run", "--rm", "--network", "none", "mc-proxy", "version").strip()
    assert said == f"mc-proxy v{labels['org.opencontainers.image.version']}", said
    assert re.fullmatch(r"[0-9a-f]{40}", labels["org.opencontainers.image.revision"]), labels
    inside = run("podman", "run", "--rm", "--network", "none", "--entrypoint", "cat", "mc-proxy", "/usr/share/mc-proxy/seccomp.json")
    assert inside == PROFILE.read_text()


def without(block: str, *options: str) -> str:
    for option in options:
        assert option in block, f"{option} is not in:\n{block}"
        block = block.replace(option, "")
    return block


def what_it_says_and_ends_with(code: int, start: str) -> str:
    run("bash", "-e", "-c", without(start, "--restart on-failure"))
    assert run("podman", "wait", "mc-proxy").strip() == str(code)
    return logs("mc-proxy")


def default_profile_is_told_with_the_remedy() -> None:
    need_bridge()
    with nothing_left():
        run("bash", "-e", "-c", page(PREPARE))
        network, check = page(CHECK).split("docker run --rm", 1)
        run("bash", "-e", "-c", network)
        ours = "--security-opt seccomp=containers/seccomp.json"
        checked = run("bash", "-e", "-c", without("docker run --rm" + check, ours), fails=True)
        told = what_it_says_and_ends_with(1, without(page(START), ours))
        for text in (checked, told):
            assert "io_uring is not available: a seccomp filter" in text and "containers/seccomp.json" in text, text
        assert "BAD  io_uring" in checked and "BAD  listener" not in checked, checked


def low_port_without_the_sysctl_is_told_with_the_remedy() -> None:
    need_bridge()
    with nothing_left():
        run("bash", "-e", "-c", page(PREPARE))
        run("bash", "-e", "-c", without(page(CHECK).split("docker run --rm", 1)[0], "--sysctl net.ipv4.ip_unprivileged_port_start=0"))
        told = what_it_says_and_ends_with(1, page(START))
        assert "net.ipv4.ip_unprivileged_port_start=0" in told, told


# ---- scenarios: the page

# The blocks, in the page's order.
BUILD, PREPARE, CHECK, START, LOOK, RELOAD, UPGRADE, STOP = range(8)

APP = "app.example.com"


def start_site() -> None:
    run("podman", "run", "-d", "--name", "site", "--network", "container:mc-proxy-net", SITE, APP, "18443", "This is the application.")


def serves(name: str) -> None:
    until(lambda: "msg=serving" in logs(name) or "level=ERROR" in logs(name), "it serves")
    assert "level=ERROR" not in logs(name), logs(name)


def is_confined(name: str) -> None:
    """By the engine, as the page configures it, and by itself."""
    confined = re.search(r"msg=confined capabilities=none landlock=(.+) seccomp=\"[1-9]\d* system calls refused\"", logs(name))
    assert confined, logs(name)
    if "abi" not in confined[1]:
        say(f"   landlock: {confined[1]}")
    status = process_status(name)
    assert status["Uid"].split() == status["Gid"].split() == [str(USER)] * 4, status
    assert {int(status[key], 16) for key in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {0}, status
    assert (status["NoNewPrivs"], status["Seccomp_filters"]) == ("1", "2"), status
    said = run("podman", "exec", name, "touch", "/etc/x", fails=True)
    assert "Read-only file system" in said, said
    mounted = run("podman", "exec", name, "cat", "/proc/mounts")
    assert re.search(r"^\S+ /run/mc-proxy tmpfs ", mounted, re.M), mounted


def runbook_commands_do_what_the_page_says() -> None:
    need_bridge()
    with nothing_left():
        do(PREPARE)
        checked = do(CHECK)
        assert "ok   io_uring" in checked and "ok   listener         :443 can be bound" in checked, checked
        start_site()
        do(START)
        serves("mc-proxy")
        is_confined("mc-proxy")
        until(lambda: is_served(APP), "the site is served")
        assert fetch(APP) == "This is the application."
        assert not is_served("unknown.example.com")
        look()
        do(RELOAD)
        until(lambda: "received SIGHUP, reloading GeoIP database" in logs("mc-proxy"), "it has the signal")
        refuses_to_upgrade_inside()
        upgrades_under_load()
        stops_in_order()
        missing = set(range(len(blocks()))) - done_blocks - {BUILD}
        assert len(blocks()) == STOP + 1 and not missing, f"blocks that nothing ran: {missing}"


def look() -> None:
    # Where systemd runs, podman runs the check by a timer; here nothing else does.
    run("podman", "healthcheck", "run", "mc-proxy")
    said = do(LOOK)
    assert re.search(r"^mc-proxy v[\d.]+\nuptime: \S+\nconnections: \d+\n:443 routes=2 active=0$", said, re.M), said
    assert re.search(r"^healthy$", said, re.M) and "sni=app.example.com" in said, said
    run("podman", "exec", "mc-proxy", "mc-proxy", "routes", "add", "-l", ":443", "new.example.com", "127.0.0.1:18443")
    with Connection("new.example.com") as connection:
        assert connection.ask() == "This is the application."


def refuses_to_upgrade_inside() -> None:
    said = run("podman", "exec", "mc-proxy", "mc-proxy", "upgrade", fails=True)
    assert "first process" in said and "--take-over" in said, said
    assert is_served(APP)


def upgrades_under_load() -> None:
    clients = Clients(APP)
    with Connection(APP) as long:
        long.ask()
        upgrade = subprocess.Popen(["bash", "-e", "-c", page(UPGRADE)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            until(lambda: "msg=\"handed over" in logs("mc-proxy") or upgrade.poll() is not None, "the first has handed over", 120)
            assert long.ask() == "This is the application.", "a connection of the first server"
            assert upgrade.poll() is None, "it waits for the connection's end"
        finally:
            long.close()
            said, _ = upgrade.communicate(timeout=PATIENCE)
    assert upgrade.returncode == 0, said
    clients.end()
    say(f"   {clients.served} clients during the upgrade, none refused")
    assert re.search(r"^0$", said, re.M), f"the first has not ended with 0:\n{said}"
    is_confined("mc-proxy")  # by its new name
    assert "msg=\"taking over from the running server\"" in logs("mc-proxy")
    assert "new.example.com" in run("podman", "exec", "mc-proxy", "mc-proxy", "routes", "list", "-l", ":443")
    run("podman", "healthcheck", "run", "mc-proxy")


def stops_in_order() -> None:
    with Connection(APP) as long:
        long.ask()
        stop = subprocess.Popen(["bash", "-e", "-c", page(STOP)], stdout=subprocess.DEVNULL)
        until(lambda: not is_served(APP), "newcomers are refused")
        assert long.ask() == "This is the application.", "an open connection goes on"
        assert stop.poll() is None
    assert stop.wait(timeout=PATIENCE) == 0
    assert inspect("mc-proxy", ".State.ExitCode") == "0"
    assert "msg=stopped" in logs("mc-proxy")


# ---- scenarios: Compose


@contextlib.contextmanager
def compose() -> Iterator[Callable[..., str]]:
    """The command, over the engine's socket: `docker compose`, or the older docker-compose."""
    if shutil.which("docker-compose") is None:
        raise scenarios.Skipped("there is no docker-compose")
    socket_path = Path("/run/podman.sock")
    # Compose puts the profile's text into the request, as Docker wants it; podman wants a name there. So the profile is the
    # engine's default here, and the rest of the file as it is.
    settings = Path("/run/containers-compose.conf")
    settings.write_text(Path("/run/containers.conf").read_text().replace("[engine]", f'seccomp_profile = "{PROFILE}"\n[engine]'))
    service = subprocess.Popen(
        ["podman", "system", "service", "--time", "0", f"unix://{socket_path}"],
        env=os.environ | {"CONTAINERS_CONF": str(settings)}, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    file, override = Path("/srv/compose.yaml"), Path("/srv/override.yaml")
    file.write_text(without((REPOSITORY / "containers/compose.yaml").read_text(), "- seccomp=seccomp.json\n"))
    # At most the limit of this machine.
    descriptors, processes = (resource.getrlimit(which)[1] for which in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC))
    limits = {"ulimits": {"nproc": processes, "nofile": {"soft": 1024, "hard": min(65536, descriptors)}}}
    override.write_text(json.dumps({"services": {name: limits for name in ("mc-proxy", "red", "blue")}}))
    environment = os.environ | {"DOCKER_HOST": f"unix://{socket_path}"}

    def command(*words: str) -> str:
        options = ["--project-directory", ".", "--file", file, "--file", override]
        return run("docker-compose", *options, *words, env=environment, cwd=REPOSITORY / "containers", seconds=120)

    try:
        until(socket_path.exists, "the engine's socket is there")
        yield command
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait()


def compose_file_brings_up_two_sites() -> None:
    need_bridge()
    with nothing_left(), compose() as command:
        assert "seccomp.json" in run("docker-compose", "config", cwd=REPOSITORY / "containers"), "the file as it is"
        command("up", "--detach", "--no-build")
        until(lambda: is_served("red.example.com", 8443) and is_served("blue.example.net", 8443), "both sites are served")
        assert fetch("red.example.com", 8443) == "This is the red site."
        assert fetch("blue.example.net", 8443) == "This is the blue site."
        (name,) = re.findall(r"^\S*mc-proxy[-_]1$", run("podman", "ps", "--format", "{{.Names}}"), re.M)
        is_confined(name)
        run("podman", "healthcheck", "run", name)
        command("stop")
        assert inspect(name, ".State.ExitCode") == "0"
        command("rm", "--force", "red", "blue")  # podman wants those gone first that use another's network
        command("down", "--volumes")
        assert run("podman", "ps", "--all", "--quiet").strip() == ""


# ---- the whole

SCENARIOS = [
    profile_is_this_machines_default_and_three_calls,
    shipped_profile_is_made_from_the_default_that_it_names,
    image_is_small_and_says_what_it_is,
    default_profile_is_told_with_the_remedy,
    low_port_without_the_sysctl_is_told_with_the_remedy,
    runbook_commands_do_what_the_page_says,
    compose_file_brings_up_two_sites,
]


def play_all(words: list[str]) -> int:
    settle(CACHE / "images")
    run("ip", "link", "set", "lo", "up")
    outcomes = scenarios.play(SCENARIOS, words)
    clear()
    return scenarios.sum_up(outcomes)


def main(words: list[str]) -> int:
    if words[:1] == ["@build"]:
        return build()
    if words[:1] == ["@run"]:
        return play_all(words[1:])
    if os.geteuid() != 0:
        print("container-test: it needs root", file=sys.stderr)
        return 2
    CACHE.mkdir(parents=True, exist_ok=True)
    if in_namespaces("build", BUILD_SECONDS) != 0:
        say("0 passed, 1 failed")
        return 1
    return in_namespaces("run", RUN_SECONDS, *words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
