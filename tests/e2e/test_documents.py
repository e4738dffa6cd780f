# SPDX-License-Identifier: Apache-2.0
"""The numbers and names in the documents are those of the sources."""

import re
import tomllib

import pytest

from harness import REPOSITORY


def text_of(name: str) -> str:
    """A file with every run of white space as one space."""
    return re.sub(r"\s+", " ", (REPOSITORY / name).read_text())


def constant(file: str, name: str) -> str:
    """The value of a named limit, without separators."""
    found = re.search(rf"\b{name}(?: = |{{)([\d']+)", text_of(f"src/{file}"))
    assert found, f"{file} has no {name}"
    return found[1].replace("'", "")


# Document, a sentence with its number, and the limit that it is about; in milliseconds where that is in them.
NUMBERS = [
    ("RUNBOOK.md", r"at most ([\d,]+) a second are written", "traffic/limits.hpp", "kLinesPerSecond", 1),
    ("RUNBOOK.md", r"keeps the last ([\d,]+) such failures", "traffic/limits.hpp", "kEventsKept", 1),
    ("RUNBOOK.md", r"of the last ([\d,]+); whoever notes", "store/limits.hpp", "kAuditEntriesMax", 1),
    ("RUNBOOK.md", r"The database keeps the last ([\d,]+) changes", "store/limits.hpp", "kAuditEntriesMax", 1),
    ("RUNBOOK.md", r"can hold no more than (\d+) connections", "metrics/limits.hpp", "kConnectionsMax", 1),
    ("RUNBOOK.md", r"the first ([\d,]+) by their pools' names", "metrics/limits.hpp", "kBackendsMax", 1),
    ("RUNBOOK.md", r"of the last (\d+) s started", "health/limits.hpp", "kLatenessShown", 1),
    ("RUNBOOK.md", r"hold the (\d+) places for", "health/limits.hpp", "kUnderWayMax", 1),
    ("RUNBOOK.md", r"connections, none for more than (\d+) s", "metrics/limits.hpp", "kAnswerWaitMax", 1000),
    ("RUNBOOK.md", r"the API's (\d+) places", "admin/limits.hpp", "kTcpConnectionsMax", 1),
    ("RUNBOOK.md", r"once a day from (\d+) days before the end", "admin/limits.hpp", "kExpiryWarning", 1),
    ("RUNBOOK.md", r"if the bus says nothing for (two) seconds", "lifecycle/limits.hpp", "kBusMax", 1),
    ("RUNBOOK.md", r"(Eight) watches may be open", "admin/limits.hpp", "kWatchesMax", 1),
    ("doc/mc-proxy.toml.5", r"Above (\d+)h, and with 0s", "proxy/limits.hpp", "kIdleBeforeKeepAlive", 1),
    ("doc/mc-proxy.toml.5", r"the first so many by name, 0 to ([\d,]+)\.", "config/limits.hpp", "kMetricsRoutesMax", 1),
    ("doc/mc-proxy.toml.5", r"blocks: at least one, at most (\d+)", "config/limits.hpp", "kSendersMax", 1),
    ("doc/mc-proxy.toml.5", r"header may take, at least (\d)s", "config/limits.hpp", "kProxyHeaderTimeoutMin", 1000),
    ("doc/mc-proxy.toml.5", r"\.Va after is at least (\d+)ms", "config/limits.hpp", "kSilentMin", 1),
    ("doc/mc-proxy.toml.5", r"array of at most (\d+) addresses with a port", "config/limits.hpp", "kDnsServersMax", 1),
    ("doc/mc-proxy.toml.5", r"at most (\d+) addresses of this machine", "config/limits.hpp", "kSourcesMax", 1),
    ("doc/mc-proxy.toml.5", r"at most (\d+)\. \.Bl -tag -width Ds \.It Va addr", "config/limits.hpp", "kListenersMax", 1),
    ("RUNBOOK.md", r"used in turn; at most (\d+)\.", "config/limits.hpp", "kSourcesMax", 1),
    ("doc/mc-proxy.toml.5", r"and at most (\d+) with \.Va alpn", "policy/limits.hpp", "kMatchesPerPatternMax", 1),
    ("doc/mc-proxy.toml.5", r"at most (\d+), none of them inside another", "policy/limits.hpp", "kRouteSourcesMax", 1),
    ("doc/mc-proxy.1", r"At most (\d+) routes of a host name", "policy/limits.hpp", "kMatchesPerPatternMax", 1),
    ("proto/mc_proxy/v1/admin.proto", r"At most (\d+) routes of a host", "policy/limits.hpp", "kMatchesPerPatternMax", 1),
    ("proto/mc_proxy/v1/admin.proto", r"// At most ([\d,]+)\. Each sees", "control/limits.hpp", "kChangesMax", 1),
    ("proto/mc_proxy/v1/admin.proto", r"of more than ([\d,]+) // changes", "control/limits.hpp", "kEffectsMax", 1),
    ("proto/mc_proxy/v1/admin.proto", r"the server keeps the last ([\d,]+), whether", "traffic/limits.hpp", "kEventsKept", 1),
    ("proto/mc_proxy/v1/admin.proto", r"keeps \(the last ([\d,]+)\)", "store/limits.hpp", "kAuditEntriesMax", 1),
]
WORDS = {"two": 2, "eight": 8}


@pytest.mark.parametrize(("document", "sentence", "file", "name", "unit"), NUMBERS, ids=lambda value: str(value)[:40])
def test_a_number_in_a_document_is_that_of_the_program(
    document: str, sentence: str, file: str, name: str, unit: int
) -> None:
    found = re.search(sentence, text_of(document))
    assert found, f"{document} does not say {sentence} any more: correct this test"
    told = found[1].replace(",", "").lower()
    assert WORDS.get(told) or int(told), sentence
    assert (WORDS.get(told) or int(told)) * unit == int(constant(file, name))


def test_the_table_of_routes_that_a_client_gets_is_the_one_that_is_tested() -> None:
    test = text_of("tests/unit/policy/route_table_test.cpp").partition("const Row rows[] = {")[2].partition("};")[0]
    tested = [tuple(re.findall(r'"([^"]*)"', row)) for row in re.findall(r"\{([^{}]*)\}", test)]
    table = (REPOSITORY / "README.md").read_text().partition("| name | offers | comes from | route |")[2]
    told = []
    for line in table.splitlines()[2:]:
        if not line.startswith("|"):
            break
        name, offers, source, route = (cell.strip() for cell in line.strip("|").split("|"))
        told.append((name, "" if offers == "–" else offers.replace(", ", ","), source, route))
    assert len(told) > 8
    assert told == tested


def reasons() -> set[str]:
    """The names of all ways in which a connection can end."""
    return set(re.findall(r'\{Reason::k\w+, "(\w+)"', text_of("src/traffic/reason.cpp"))) - {"none"}


def test_every_reason_of_a_failed_dial_is_in_the_api_the_alerts_and_the_dashboard() -> None:
    table = text_of("src/traffic/reason.cpp")
    failed = set(re.findall(r'\{Reason::k\w+, "(\w+)", Close::kReset, Outcome::kDialFailed\}', table))
    assert len(failed) >= 6
    comment = text_of("proto/mc_proxy/v1/admin.proto").partition("message DialFailed {")[2].partition("string reason")[0]
    assert set(re.findall(r'"(\w+)"', comment)) == failed
    for file in ("observability/alerts.yml", "observability/grafana-dashboard.json"):
        lists = [set(found.split("|")) for found in re.findall(r'reason=~\\?"([\w|]*dial_refused[\w|]*)', text_of(file))]
        assert lists and all(one == failed for one in lists), file


def test_the_runbook_explains_every_reason_and_no_other() -> None:
    table = (REPOSITORY / "RUNBOOK.md").read_text().partition("| reason | what happened |")[2].partition("\n\n")[0]
    named = {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named == reasons() and len(named) > 20


def test_the_runbook_lists_its_sections_in_their_order() -> None:
    runbook = (REPOSITORY / "RUNBOOK.md").read_text()
    listed = re.search(r"^All sections:(.*?)\n\n", runbook, re.DOTALL | re.MULTILINE)
    assert listed
    assert re.findall(r"\[([^\]]+)\]\(#", listed[1]) == re.findall(r"^## (.*)$", runbook, re.MULTILINE)


def test_the_runbook_names_every_kind_of_event_and_of_warning() -> None:
    runbook = text_of("RUNBOOK.md")
    kinds = re.findall(r"EVENT_KIND_(\w+) = [1-9]", text_of("proto/mc_proxy/v1/admin.proto"))
    assert len(kinds) >= 6
    for kind in kinds:
        assert f"`{kind.lower()}`" in runbook
    warnings = re.findall(r'return "(\w+)";', text_of("src/control/warnings.cpp"))
    assert len(warnings) >= 3
    for kind in warnings:
        assert f'mc_proxy_warning{{kind="{kind}"}}' in runbook, kind


def defaults_of_the_program() -> dict[str, str]:
    """Keys of [dns], [proxy], [log] and [metrics] with the defaults that config.hpp gives them, as TOML has them."""
    units = {"seconds": "s", "minutes": "m", "hours": "h"}
    header = text_of("src/config/config.hpp")
    dns = header.partition("struct Dns {")[2].partition("struct Database {")[0]
    source = dns + header.partition("struct Proxy {")[2].partition("struct Config {")[0]
    found = {}
    for key, value in re.findall(r"(\w+) = ([^;]+);", source):
        if duration := re.fullmatch(r"std::chrono::(\w+)\((\d+)\)", value):
            value = f'"{duration[2]}{units[duration[1]]}"'
        elif word := re.fullmatch(r"\w+::k(\w+)", value):
            value = f'"{word[1].lower()}"'
        found[key] = value
    return found


def test_the_defaults_of_the_documents_are_those_of_the_program() -> None:
    defaults = defaults_of_the_program()
    assert defaults["shutdown_timeout"] == '"30s"' and defaults["level"] == '"info"' and len(defaults) >= 11
    example = tomllib.loads((REPOSITORY / "systemd/mc-proxy.toml.example").read_text())
    page = (REPOSITORY / "doc/mc-proxy.toml.5").read_text().partition(".Ss [dns]")[2]
    tables = [example[name] for name in ("dns", "proxy", "log", "metrics")]
    for key, value in defaults.items():
        shown = [table[key] for table in tables if key in table]
        assert shown == [tomllib.loads(f"x = {value}")["x"]], f"mc-proxy.toml.example: {key} is {value} by default"
        item = re.search(rf"^\.It Va {key}\n(.*?)^\.(?:It|El)", page, re.M | re.S)
        assert item, f"mc-proxy.toml.5 has no {key}"
        told = re.search(r"The default(?: is\n\.Ql| is|,) (\w+)", item[1])
        assert told and told[1] == value.strip('"'), f"mc-proxy.toml.5: {key} is {value} by default"
