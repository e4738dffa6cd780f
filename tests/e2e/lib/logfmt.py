# SPDX-License-Identifier: Apache-2.0
"""A strict reader of the proxy's log lines.

Strict, because the lines are an interface: operators cut them apart with tools that know logfmt and
nothing else. Whatever such a tool could misread is an error here.
"""

import re

_KEY = r"[a-z][a-z0-9_]*"
_BARE = r'[^\s="]+'
_QUOTED = r'"(?:[^"\\\x00-\x1f\x7f]|\\.)*"'
_PAIR = re.compile(rf"({_KEY})=({_BARE}|{_QUOTED})")
_ESCAPE = re.compile(r"\\(x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|.)")
_NAMED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_LEVELS = ("DEBUG", "INFO", "WARN", "ERROR")


def parse(line: str) -> dict[str, str]:
    """The fields of one line, in order. Raises ValueError for a line that is not exactly logfmt."""
    fields: dict[str, str] = {}
    at = 0
    while True:
        pair = _PAIR.match(line, at)
        if pair is None:
            raise ValueError(f"no key=value at column {at}")
        key, value = pair.groups()
        if key in fields:
            raise ValueError(f"{key} is there twice")
        fields[key] = _unquote(value)
        at = pair.end()
        if at == len(line):
            break
        if line[at] != " ":
            raise ValueError(f"no space after {key}")
        at += 1
    _check_head(fields)
    return fields


def _check_head(fields: dict[str, str]) -> None:
    if list(fields)[:3] != ["time", "level", "msg"]:
        raise ValueError("a line begins with time, level and msg")
    if not _TIME.fullmatch(fields["time"]):
        raise ValueError(f"time {fields['time']!r} is not RFC 3339 with milliseconds, in UTC")
    if fields["level"] not in _LEVELS:
        raise ValueError(f"level {fields['level']!r} is none of {_LEVELS}")


def _unquote(value: str) -> str:
    if not value.startswith('"'):
        return value
    return _ESCAPE.sub(_unescape, value[1:-1])


def _unescape(escape: re.Match[str]) -> str:
    text = escape[1]
    if text in ('"', "\\"):
        return text
    if text in _NAMED:
        return _NAMED[text]
    if len(text) == 1:
        raise ValueError(f"unknown escape \\{text}")
    code = int(text[1:], 16)
    # A byte that is not UTF-8 becomes what Python has for such bytes (surrogateescape).
    return chr(0xDC00 + code) if text[0] == "x" and code >= 0x80 else chr(code)
