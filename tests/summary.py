#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Counts the results in JUnit files and prints them; the last line is "N passed, N failed".

  summary.py print DIR                            the summary of all *.xml in DIR; exit 1 if anything failed
  summary.py record FILE NAME STATUS LOG SECONDS  a step without a JUnit file of its own becomes one test
  summary.py crashed FILE NAME STATUS LOG         a test program ended badly: make sure that its file says so

A file NAME.planned beside NAME.xml has the tests that have not been reported, a line each (tests/e2e/conftest.py): each is
a failed test. If it is empty and there is no NAME.xml, all of NAME is one.
"""

import pathlib
import sys
import xml.etree.ElementTree as ET

# What a unit test prints that cannot be made here (tests/support/catch.hpp): Catch2 version 2 knows no skipped tests.
SKIPPED = "skipped: "

# Names of failed tests on the screen. An interrupt leaves hundreds that never ran.
FAILURES_SHOWN_MAX = 40


def outcome_of(case: ET.Element) -> str:
    for tag, outcome in (("failure", "failed"), ("error", "failed"), ("skipped", "skipped")):
        if case.find(tag) is not None:
            return outcome
    return "skipped" if printed(case).startswith(SKIPPED) else "passed"


def printed(case: ET.Element) -> str:
    return (case.findtext("system-out") or "").strip()


def name_of(case: ET.Element) -> str:
    """With the reason, if it was skipped."""
    name = f"{case.get('classname', '')}: {case.get('name', '')}"
    skipped = case.find("skipped")
    if skipped is not None:
        return f"{name}: {skipped.get('message') or (skipped.text or '').strip()}"
    if outcome_of(case) == "skipped":
        return f"{name}: {printed(case).splitlines()[0].removeprefix(SKIPPED)}"
    return name


def read(path: pathlib.Path):
    """(name, outcome, seconds) of each test; a file that cannot be read is one failed test."""
    left = path.with_suffix(".planned")
    names = left.read_text().split("\n")[:-1] if left.exists() else []
    lost = [(f"{path.stem}: {name}: never ran to its end", "failed", 0.0) for name in names]
    if not path.exists():
        return lost or [(f"{path.stem}: never ran to its end", "failed", 0.0)]
    return lost + read_results(path)


def read_results(path: pathlib.Path):
    try:
        cases = list(ET.parse(path).getroot().iter("testcase"))
    except ET.ParseError as error:
        return [(f"{path.name}: {error}", "failed", 0.0)]
    if not cases:
        return [(f"{path.name}: no test ran", "failed", 0.0)]
    return [(name_of(case), outcome_of(case), float(case.get("time") or 0)) for case in cases]


def write_one(path: str, name: str, failed: bool, log: str, seconds: float) -> None:
    suite = ET.Element("testsuite", name=name)
    case = ET.SubElement(suite, "testcase", classname="step", name=name, time=str(seconds))
    if failed:
        text = pathlib.Path(log).read_text(errors="replace")[-4000:]
        ET.SubElement(case, "failure").text = "".join(c for c in text if c.isprintable() or c in "\n\t")
    ET.ElementTree(suite).write(path, encoding="unicode")


# Of timeout(1).
STATUS_TIME_LIMIT = ("124", "137")


def crashed(path: str, name: str, status: str, log: str) -> None:
    """Failed assertions are in the program's file already; a crash, or a sanitizer's report at exit, is not."""
    file = pathlib.Path(path)
    cases = cases_of(file)
    if any(outcome_of(case) == "failed" for case in cases):
        return
    text = pathlib.Path(log).read_text(errors="replace")
    last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it printed nothing")
    why = "reached its time limit" if status in STATUS_TIME_LIMIT else f"ended with exit code {status}"
    # What has passed until then stays counted.
    write_one(str(file.with_suffix(".end.xml")) if cases else path, f"{name} {why}: {last}", True, log, 0.0)
    print(text[-4000:])


def cases_of(path: pathlib.Path) -> list[ET.Element]:
    try:
        return list(ET.parse(path).getroot().iter("testcase"))
    except (OSError, ET.ParseError):
        return []


def print_summary(directory: str) -> int:
    total = {"passed": 0, "failed": 0, "skipped": 0}
    failures, skipped = [], []
    print()
    found = {path.with_suffix(".xml") for end in ("xml", "planned") for path in pathlib.Path(directory).glob(f"*.{end}")}
    for path in sorted(found):
        tests = read(path)
        counts = {outcome: sum(1 for test in tests if test[1] == outcome) for outcome in total}
        for outcome in total:
            total[outcome] += counts[outcome]
        failures += [test[0] for test in tests if test[1] == "failed"]
        skipped += [test[0] for test in tests if test[1] == "skipped"]
        mark = "ok  " if counts["failed"] == 0 else "FAIL"
        seconds = sum(test[2] for test in tests)
        print(f"  {mark} {path.stem:<28} {counts['passed']:>5} passed {counts['failed']:>3} failed {seconds:>8.1f} s")
    for name in skipped:
        print(f"  skipped: {name}")
    for name in failures[:FAILURES_SHOWN_MAX]:
        print(f"  failed: {name}")
    if len(failures) > FAILURES_SHOWN_MAX:
        print(f"  failed: {len(failures) - FAILURES_SHOWN_MAX} others; their names are in {directory}/*.xml and *.planned")
    print()
    tail = f", {total['skipped']} skipped" if total["skipped"] else ""
    print(f"{total['passed']} passed, {total['failed']} failed{tail}")
    return 1 if total["failed"] or not total["passed"] else 0


def main(arguments: list[str]) -> int:
    match arguments:
        case ["print", directory]:
            return print_summary(directory)
        case ["record", path, name, status, log, seconds]:
            write_one(path, name, status != "0", log, float(seconds))
            return 0
        case ["crashed", path, name, status, log]:
            crashed(path, name, status, log)
            return 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
