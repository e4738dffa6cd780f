# SPDX-License-Identifier: Apache-2.0
"""What `meson install` puts in place: where it goes, the manual pages, and systemd's checks of the units."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from harness import REPOSITORY, binary

# How much a unit may be exposed, by `systemd-analyze security`: 0 to 100, which it shows as 0.0 to 10.0. The service
# serves the Internet, on the machine's own ports, from processes that each may notify: that alone is 1.2.
EXPOSURE_MAX = {"mc-proxy.service": 15, "mc-proxy-backup.service": 4}

INSTALLED = """\
bin/mc-proxy
lib/systemd/system/mc-proxy-backup.service
lib/systemd/system/mc-proxy-backup.timer
lib/systemd/system/mc-proxy.service
lib/systemd/system/mc-proxy.socket
lib/sysusers.d/mc-proxy.conf
lib/tmpfiles.d/mc-proxy.conf
share/bash-completion/completions/mc-proxy
share/doc/mc-proxy/RUNBOOK.md
share/doc/mc-proxy/containers/seccomp.json
share/doc/mc-proxy/examples/mc-proxy.toml
share/doc/mc-proxy/observability/alerts.yml
share/doc/mc-proxy/observability/grafana-dashboard.json
share/doc/mc-proxy/proto/mc_proxy/v1/admin.proto
share/man/man1/mc-proxy.1
share/man/man5/mc-proxy.toml.5
share/zsh/site-functions/_mc-proxy
"""


def run(*words: object, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=60, **options)


def output(*words: object, **options) -> str:
    done = run(*words, **options)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


@pytest.fixture(scope="session")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prefix in a tree into which the build of the program under test was installed."""
    tree = tmp_path_factory.mktemp("installed")
    build = Path(binary()).parent
    output("meson", "install", "-C", build, "--no-rebuild", "--quiet", "--destdir", tree)
    return tree / "usr/local"


# ---- files


def test_everything_is_installed_and_nothing_else(prefix: Path) -> None:
    found = sorted(path.relative_to(prefix) for path in prefix.parents[1].rglob("*") if not path.is_dir())
    assert [str(path) for path in found] == INSTALLED.splitlines()
    example = prefix / "share/doc/mc-proxy/examples/mc-proxy.toml"
    assert example.read_text() == (REPOSITORY / "systemd/mc-proxy.toml.example").read_text()
    for shell, path in (("bash", "bash-completion/completions/mc-proxy"), ("zsh", "zsh/site-functions/_mc-proxy")):
        assert (prefix / "share" / path).read_text() == output(binary(), "completion", shell)


def anchors(page: str) -> set[str]:
    """Where links into a page may lead, as GitHub makes them of its headings."""
    headings = re.findall(r"^#+ (.*)$", page, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_installed_documents_name_only_what_is_installed(prefix: Path) -> None:
    runbook = prefix / "share/doc/mc-proxy/RUNBOOK.md"
    page = runbook.read_text()
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert {link.partition("#")[0] for link in links} - {""} >= {"proto/mc_proxy/v1/admin.proto", "containers/seccomp.json"}
    for link in links:
        target, _, anchor = link.partition("#")
        assert (runbook.parent / target).exists(), f"RUNBOOK.md links to {link}, which is not installed"
        assert not anchor or (not target and anchor in anchors(page)), f"RUNBOOK.md links to {link}, which has no heading"
    for document in sorted(path for path in prefix.rglob("*") if path.is_file() and "bin" not in path.parts):
        # In the package the prefix is /usr. What other programs bring has no mc-proxy in its path; the image's files
        # are the container test's.
        for path in re.findall(r"/usr/share/[\w./-]*mc-proxy[\w./-]*\w", document.read_text()):
            if path != "/usr/share/mc-proxy/seccomp.json":
                assert (prefix / path.removeprefix("/usr/")).exists(), f"{document} names {path}, which is not installed"


def test_every_link_of_a_document_leads_somewhere() -> None:
    for name in ("README.md", "RUNBOOK.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "containers/README.md", "bench/README.md"):
        page = (REPOSITORY / name).read_text()
        for link in re.findall(r"\]\(([^)]+)\)", page):
            if re.match(r"https?:", link):
                continue
            target, _, anchor = link.partition("#")
            file = (REPOSITORY / name).parent / target if target else REPOSITORY / name
            assert file.exists(), f"{name}: {link}"
            assert not anchor or anchor in anchors(file.read_text()), f"{name}: {link}"


def test_the_user_and_the_directories_are_made_as_systemd_reads_them(prefix: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    run("systemd-sysusers", f"--root={root}", prefix / "lib/sysusers.d/mc-proxy.conf")
    assert re.search(r"^mc-proxy:x:\d+:\d+:mc-proxy TLS proxy:/srv/mc-proxy:", (root / "etc/passwd").read_text(), re.M)
    folder = root / "srv/mc-proxy"
    for attempt in range(2):
        made = run("systemd-tmpfiles", "--create", f"--root={root}", prefix / "lib/tmpfiles.d/mc-proxy.conf")
        assert made.returncode == 0, made
        modes = {str(path.relative_to(root)): path.stat().st_mode & 0o777 for path in [folder, *folder.iterdir()]}
        mine = 0o750 if attempt == 0 else 0o700  # what an operator has changed stays
        assert modes == {"srv/mc-proxy": mine, "srv/mc-proxy/backups": 0o750, "srv/mc-proxy/certs": 0o750}
        folder.chmod(0o700)


# ---- units


@pytest.fixture(scope="session")
def units(prefix: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The units, with the path that the program has in the tree: systemd looks whether it is there."""
    folder = tmp_path_factory.mktemp("units")
    for unit in (prefix / "lib/systemd/system").iterdir():
        (folder / unit.name).write_text(unit.read_text().replace("=/usr/local/bin/", f"={prefix}/bin/"))
    return folder


def test_systemd_finds_no_fault_in_the_units(units: Path, prefix: Path) -> None:
    manuals = os.environ | {"MANPATH": f"{prefix}/share/man"}
    assert output("systemd-analyze", "verify", *sorted(units.iterdir()), env=manuals) == ""


@pytest.mark.parametrize("unit", EXPOSURE_MAX)
def test_what_a_unit_may_do_is_bounded(units: Path, unit: str) -> None:
    done = run(
        "systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE_MAX[unit]}", units / unit
    )
    assert done.returncode == 0, done.stdout


def test_the_units_agree_with_the_program(units: Path) -> None:
    service = (units / "mc-proxy.service").read_text()
    stop = re.search(r"^TimeoutStopSec=(\d+)s$", service, re.M)
    example = (REPOSITORY / "systemd/mc-proxy.toml.example").read_text()
    shutdown = re.search(r'^shutdown_timeout = "(\d+)s"$', example, re.M)
    assert stop and shutdown and int(stop[1]) > int(shutdown[1])
    assert "ConditionPathExists=/srv/mc-proxy/mc-proxy.toml" in service


def test_a_reload_is_as_the_systemd_of_this_machine_can_do_it(units: Path) -> None:
    """Also where systemd.pc is missing, which Debian 13 has in a package that nothing else here needs."""
    version = int(re.match(r"\d+", output("pkg-config", "--modversion", "libsystemd"))[0])
    kind = re.search(r"^Type=(\S+)$", (units / "mc-proxy.service").read_text(), re.M)
    assert kind and kind[1] == ("notify-reload" if version >= 253 else "notify")


# ---- manual pages


@pytest.mark.parametrize("page", ["mc-proxy.1", "mc-proxy.toml.5"])
def test_a_manual_page_is_well_formed(page: str) -> None:
    """By both readers of manual pages that Debian has."""
    path = REPOSITORY / "doc" / page
    assert output("mandoc", "-T", "lint", "-W", "warning", path) == ""
    environment = os.environ | {"LC_ALL": "C.UTF-8", "MANROFFSEQ": "", "MANWIDTH": "80"}
    output("man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", path, env=environment)


def sections(page: str) -> dict[str, str]:
    """The source of a manual page by its sections and subsections."""
    found: dict[str, str] = {}
    name = ""
    for line in (REPOSITORY / "doc" / page).read_text().splitlines():
        if line.startswith((".Sh ", ".Ss ")):
            name = line[4:]
        found[name] = found.get(name, "") + line + "\n"
    return found


def documented_options(source: str) -> set[str]:
    """The options in a list: `.It Fl c , Fl Fl config Ar file`."""
    options = set()
    for item in re.findall(r"^\.It (Fl .*)$", source, re.M):
        options |= {f"--{name}" for name in re.findall(r"Fl Fl ([\w-]+)", item)}
        options |= {f"-{name}" for name in re.findall(r"(?<!Fl )Fl (\w)\b", item)}
    return options


def commands(*path: str) -> dict[tuple[str, ...], str]:
    """The help of every command that does something, as the program prints it."""
    text = output(binary(), *path, "--help")
    _, _, below = text.partition("\nSubcommands:\n")
    found = {}
    for name in re.findall(r"^  ([a-z]\S*) ", below.split("\n\n")[0], re.M):
        found |= commands(*path, name)
    return found or {path: text}


def options_of(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", text.partition("\nOptions:\n")[2].split("\n\n")[0]))


def test_the_manual_has_every_command_and_every_option_and_no_others() -> None:
    page = sections("mc-proxy.1")
    common = documented_options(page["OPTIONS"])
    known = commands()
    told = output(binary(), "--help-all")
    used = options_of(output(binary(), "--help"))
    for path, text in known.items():
        name = " ".join(path)
        assert name in page, f"mc-proxy.1 has no .Ss {name}"
        assert all(word in told for word in path)
        options = options_of(text)
        own = documented_options(page[name])
        if same := re.search(r"^The options are those of\n\.Cm (.*)\nexcept\n\.Fl Fl ([\w-]+) \.$", page[name], re.M):
            own |= documented_options(page[same[1]]) - {f"--{same[2]}"}
        assert not options - own - common, f"mc-proxy.1 does not tell of {options - own - common} of `{name}`"
        assert not own - options, f"mc-proxy.1 tells of {own - options}, which `{name}` does not have"
        used |= options
        for argument in re.findall(r"^  (\w+) ", text.partition("\nPositionals:\n")[2].split("\n\n")[0], re.M):
            assert re.search(rf"^\.(Op )?Ar .*\b{argument}\b", page[name], re.M), f"{name}: {argument}"
    assert common <= used, f"mc-proxy.1 tells of {common - used}, which no command has"
    headings = {name for name, source in page.items() if source.startswith(".Ss ")}
    assert headings == {" ".join(path) for path in known}


def test_the_manual_has_every_key_of_the_configuration_and_no_others() -> None:
    keys: dict[str, set[str]] = {}
    for line in (REPOSITORY / "systemd/mc-proxy.toml.example").read_text().splitlines():
        if heading := re.fullmatch(r"\s*(?:# )?(\[+[a-z_.]+\]+)", line):
            table = keys.setdefault(heading[1], set())
        elif key := re.match(r"\s*(?:# )?([a-z_]+) = ", line):
            table.add(key[1])
    assert {"[database]": {"path"}}.items() <= keys.items()
    # Keys of an inline table stand in the line of their table; a redirect's that are a listener's, in a comment.
    keys["[[listeners]]"] |= {"from", "required", "others", "timeout"}
    keys["[[redirects]]"] |= {"freebind", "hello_timeout", "max_connections", "proxy_protocol"}
    told = {
        name: {key for item in re.findall(r"^\.It (Va .*)$", source, re.M) for key in re.findall(r"Va ([a-z_]+)", item)}
        for name, source in sections("mc-proxy.toml.5").items()
        if name.startswith("[")
    }
    assert told == keys


def test_the_changelog_of_the_package_has_the_version_of_the_program() -> None:
    entry = (REPOSITORY / "debian/changelog").read_text().splitlines()[0]
    assert entry.startswith(f"mc-proxy ({json.loads(output(binary(), 'version', '--json'))['version']})")
