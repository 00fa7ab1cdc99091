"""A spec as TOML, which the standard library reads but does not write."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

WIDTH = 100  # Length of a line, beyond which a list is broken.


def dumps(content: Mapping[str, Any]) -> str:
    """Return a resolved spec (`Spec.to_dict`) as a file that `fastlin run` takes."""
    return "\n".join(_table("", content)) + "\n"


def _table(path: str, content: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a table: first its values, then the tables in it."""
    tables = {key: value for key, value in content.items() if _is_table(path, value)}
    for key, value in content.items():
        if key not in tables:
            yield _broken(f"{key} = ", value)
    for key, value in tables.items():
        name = f"{path}.{key}" if path else key
        yield f"\n[{name}]"
        yield from _table(name, value)


def _is_table(path: str, value: Any) -> bool:
    """Return whether a value has a heading of its own; a range, which is a mapping of numbers, has none."""
    return isinstance(value, Mapping) and (not path or any(isinstance(v, list) for v in value.values()))


def _broken(start: str, value: Any) -> str:
    """Return `start` and a value; a long list is broken over several lines."""
    line = start + _inline(value)
    if len(line) <= WIDTH or not isinstance(value, list):
        return line
    lines = ["   "]
    for entry in value:
        item = f" {_inline([entry])[1:-1]},"
        if len(lines[-1]) + len(item) > WIDTH:
            lines.append("   ")
        lines[-1] += item
    return "\n".join([f"{start}[", *lines, "]"])


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_inline(entry)}" for key, entry in value.items()) + " }"
    if isinstance(value, list):
        # In JSON, t = inf is the text "inf". No list of names in a spec holds such a name.
        return "[" + ", ".join("inf" if entry == "inf" else _inline(entry) for entry in value) + "]"
    if isinstance(value, str):
        # JSON escapes the same characters as TOML except DEL. Lone surrogates cannot be encoded.
        text = json.dumps(value.encode(errors="replace").decode(), ensure_ascii=False)
        return text.replace("\x7f", "\\u007f")
    return json.dumps(value)
