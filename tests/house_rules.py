#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""House rules that no compiler checks (CONTRIBUTING.md), as a test: prints each breach, exits 1 if there is one."""

import ast
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FUNCTION_LINES_MAX = 70
LINE_MAX = 100


def rooms_below() -> dict[str, set[str]]:
    """What each room may include, from the list by which they are built: Meson's literals are Python's."""
    text = (ROOT / "src/meson.build").read_text()
    rooms = ast.literal_eval(text[text.index("rooms = [") + len("rooms = ") : text.index("\n]\n") + 2])
    below = {room["name"]: set(room["uses"]) for room in rooms}
    return below | {"app": set(below)}


ROOMS_BELOW = rooms_below()

# co_await stands as a whole statement, as the initialiser of a named local, or behind co_return: a suspension is seen
# at a glance, and old compilers miscompiled the other places.
AWAIT_IN_CONDITION = re.compile(r"\b(if|while|switch|for)\s*\(([^()]|\([^()]*\))*\bco_await\b")
AWAIT_WITH_BRACES = re.compile(r"\bco_await\b[^;]*(\{|\[)")
# What a call on the result of a call returns may be a part of that result, which GCC 14 destroys before the loop begins
# (P2718, which Clang 19 has). A member, as in f(x).y, lives on.
LITERAL_OR_COMMENT = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)\'|//.*')
RANGE_FOR = re.compile(r"\bfor \((?:[^:;()]|::)+ :\s")
PART_OF_A_RESULT = re.compile(r"\w\((?:[^()]|\([^()]*\))*\)(\.|->)\w+\(|^\*[\w:.>-]+\(")
BANNED = {
    re.compile(r"\bFIXME\b|\bXXX\b"): "write TODO(soon|someday|perf|security): what",
    re.compile(r"\bTODO\b(?!\((soon|someday|perf|security)\))"): "say when: TODO(soon|someday|perf|security)",
    re.compile(r"\bthread_local\b"): "pass what a thread owns by reference",
    re.compile(r"\busing namespace std;"): "name what you use",
    re.compile(r"\b(std::)?assert\("): "use MC_ASSERT, which stays on",
}

# What makes Python fork: a process that has used gRPC then waits for ever, because the handlers that gRPC runs at a fork
# wait for its threads. subprocess starts a program with vfork, which runs no handlers, unless it gets one of these words.
FORKS = {"os.fork", "os.forkpty", "pty.fork", "pty.spawn"}
FORKING_WORDS = {"preexec_fn", "user", "group", "extra_groups"}
FORKING_MODULES = {"multiprocessing", "concurrent.futures.process"}
STARTS_A_PROGRAM = {"run", "Popen", "call", "check_call", "check_output"}


def sources(*patterns: str) -> list[pathlib.Path]:
    return sorted(path for folder in ("src", "tests", "bench") for pattern in patterns for path in (ROOT / folder).rglob(pattern))


def without_comment(line: str) -> str:
    return re.sub(r"//.*", "", line)


def check_lines(path: pathlib.Path, lines: list[str]):
    if lines[0] != "// SPDX-License-Identifier: Apache-2.0":
        yield 1, "the first line is the SPDX licence"
    if path.suffix == ".hpp" and lines[1] != "#pragma once":
        yield 2, "a header's second line is #pragma once"
    if path.suffix == ".hpp" and not lines[2].startswith("// "):
        yield 3, "a header opens with what it is for, which thread owns it, what it does not do"
    for number, line in enumerate(lines, 1):
        for pattern, remedy in BANNED.items():
            if pattern.search(line):
                yield number, f"{pattern.pattern}: {remedy}"
        if len(line) > LINE_MAX:
            yield number, f"a line of {len(line)} columns; {LINE_MAX} is the most, and the formatter leaves comments alone"
        code = without_comment(line)
        if AWAIT_IN_CONDITION.search(code) or AWAIT_WITH_BRACES.search(code):
            yield number, "co_await is a whole statement, a named local's initialiser, or behind co_return"


def check_includes(path: pathlib.Path, lines: list[str]):
    parts = path.relative_to(ROOT).parts
    if parts[0] != "src":
        return
    room = parts[1]
    for number, line in enumerate(lines, 1):
        included = re.match(r'#include "(\w+)/', line)
        if included and included[1] != room and included[1] not in ROOMS_BELOW[room]:
            yield number, f"{room}/ must not include {included[1]}/ (ARCHITECTURE.md, rooms)"


def check_ranges(lines: list[str]):
    text = LITERAL_OR_COMMENT.sub("", "\n".join(lines))
    for loop in RANGE_FOR.finditer(text):
        depth, end = 1, loop.end()
        while depth > 0 and end < len(text):
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        if PART_OF_A_RESULT.search(text[loop.end() : end - 1]):
            yield text.count("\n", 0, loop.start()) + 1, "a range that is part of what a call returned: name the result first"


def check_table_of_rooms():
    """ARCHITECTURE.md shows what the build has."""
    row = re.compile(r"^\| `(\w+)/` \|.*\| ([^|]+) \|$")
    shown = {}
    for line in (ROOT / "ARCHITECTURE.md").read_text().splitlines():
        if match := row.match(line):
            shown[match[1]] = set(re.findall(r"\w+", match[2]))
    shown["app"] = ROOMS_BELOW["app"] if shown.get("app") == {"all"} else set()
    if shown != ROOMS_BELOW:
        yield 1, "the table of rooms is not that of src/meson.build"


def functions(lines: list[str]):
    """First and last line of each, by the shape that clang-format gives: a body opens with a line that ends in `) … {` and
    closes on its indent. A block in a function, or a lambda, counts as one too."""
    opened: list[tuple[int, str]] = []
    for number, line in enumerate(lines, 1):
        if re.search(r"\)[^()]*\{$", line) and not re.match(r"\s*(namespace|struct|class|enum|//)", line):
            begin = number  # or the line that opens the parentheses
            while (head := "\n".join(lines[begin - 1 : number])).count(")") > head.count("(") and begin > 1:
                begin -= 1
            opened.append((begin, re.match(r"\s*", lines[begin - 1])[0]))
        elif opened and line.startswith(opened[-1][1] + "}"):
            begin, _ = opened.pop()
            yield begin, number


def check_function_lengths(lines: list[str]):
    for begin, end in functions(lines):
        if end - begin + 1 > FUNCTION_LINES_MAX:
            yield begin, f"a function of {end - begin + 1} lines; {FUNCTION_LINES_MAX} is the most"


def readers_of_published() -> set[str]:
    """The names by which src/ knows a Published<T>::Reader."""
    declared = re.compile(r"\bPublished\w*(?:<[^;{}()]*>)?::Reader\s*[&*]\s*(\w+)")
    return {name for path in sources("*.?pp") for name in declared.findall(path.read_text())}


def check_published_values(lines: list[str], readers: set[str]):
    """What a reader's get() returned may be freed while a coroutine is suspended (policy/published.hpp)."""
    text = LITERAL_OR_COMMENT.sub("", "\n".join(lines))
    code = text.split("\n")
    spans = [span for span in functions(lines) if re.search(r"\bco_await\b", "\n".join(code[span[0] - 1 : span[1]]))]
    for read in re.finditer(r"\b(?:%s)\s*(?:\.|->)\s*get\(\)" % "|".join(sorted(readers)), text):
        number = text.count("\n", 0, read.start()) + 1
        if any(begin <= number <= end for begin, end in spans):
            yield number, "a coroutine reads a published value, which a suspension may free: read it in a plain function"


def check_forks(path: pathlib.Path):
    for node in ast.walk(ast.parse(path.read_text(), path.name)):
        named: set[str] = set()
        if isinstance(node, ast.Call) and ast.unparse(node.func) in FORKS:
            named = {ast.unparse(node.func)}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition("subprocess.")[2] in STARTS_A_PROGRAM:
            named = {word.arg for word in node.keywords if word.arg} & FORKING_WORDS
        elif isinstance(node, ast.Dict):  # the words of a call that stand elsewhere
            keys = {key.value for key in node.keys if isinstance(key, ast.Constant)}
            named = keys & FORKING_WORDS if keys <= FORKING_WORDS else set()
        elif isinstance(node, ast.Import):
            named = {name.name for name in node.names} & FORKING_MODULES
        elif isinstance(node, ast.ImportFrom) and node.module in FORKING_MODULES:
            named = {node.module}
        for word in sorted(named):
            yield node.lineno, f"{word} forks, and a fork hangs under gRPC: start a command, such as setpriv or sh"


def report(path: pathlib.Path, found) -> int:
    count = 0
    for number, text in found:
        print(f"{path.relative_to(ROOT)}:{number}: {text}")
        count += 1
    return count


def main() -> int:
    breaches = sum(report(path, check_forks(path)) for path in sources("*.py") if path.is_relative_to(ROOT / "tests"))
    breaches += report(ROOT / "ARCHITECTURE.md", check_table_of_rooms())
    readers = readers_of_published()
    assert readers, "the workers read the policy through a Published<T>::Reader& that is declared in src/"
    for path in sources("*.?pp"):
        lines = path.read_text().splitlines()
        checks = list(check_lines(path, lines)) + list(check_includes(path, lines)) + list(check_ranges(lines))
        if path.relative_to(ROOT).parts[0] == "src":
            checks += list(check_function_lengths(lines)) + list(check_published_values(lines, readers))
        breaches += report(path, checks)
    print(f"{breaches} breaches of the house rules")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
