"""Text for people and for programs: durations and sizes in words, tables in Markdown, and compact JSON."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def format_duration(seconds: float) -> str:
    """Return a duration in words.

    Parameters
    ----------
    seconds : float
        Zero or more.

    Returns
    -------
    str
        The largest unit that fits, and the next one below it where a reader needs it.

    Examples
    --------
    >>> [format_duration(seconds) for seconds in (0.32, 12.4, 1571, 12_000, 345_600)]
    ['0.3 s', '12 s', '26 min', '3 h 20 min', '4 days']
    """
    if seconds < 9.95:
        return "0 s" if seconds < 0.05 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < 10 * _MINUTE:
        return _two(whole, _MINUTE, "min", 1, "s")
    minutes = round(seconds / _MINUTE)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return _two(minutes * _MINUTE, _HOUR, "h", _MINUTE, "min")
    days = seconds / _DAY
    return f"{days:.2g} days" if days < 9.95 else f"{days:,.0f} days"


def _two(seconds: int, large: int, large_name: str, small: int, small_name: str) -> str:
    """Return a duration in two units, without the second where it is zero."""
    count, rest = divmod(seconds, large)
    return f"{count} {large_name}" + (f" {rest // small} {small_name}" if rest else "")


def format_bytes(count: float) -> str:
    """Return a number of bytes in decimal units.

    Examples
    --------
    >>> format_bytes(812), format_bytes(1_234_567)
    ('812 bytes', '1.235 MB')
    """
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.4g} {unit}"
        count /= 1000
    return f"{count:.4g} TB"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown, with aligned columns. Cells have no line break, and ``|`` only as ``\\|``.

    Examples
    --------
    >>> print(markdown_table(["code", "meaning"], [["0", "done"]]), end="")
    | code | meaning |
    |------|---------|
    | 0    | done    |
    """
    lines = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    first, *rest = (
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |\n"
        for line in lines
    )
    return "".join([first, f"|{'|'.join('-' * (width + 2) for width in widths)}|\n", *rest])


def compact_json(content: Any, indent: str = "") -> str:
    """Return JSON with one key of a mapping on a line, and lists of plain values on one line.

    A list of mappings has one of them on a line.

    Examples
    --------
    >>> print(compact_json({"axes": {"lam": [-1.0, 1.0]}, "bad": [{"seed": 3}]}))
    {
      "axes": {
        "lam": [-1.0, 1.0]
      },
      "bad": [
        {"seed": 3}
      ]
    }
    """
    inner = f"{indent}  "
    if isinstance(content, Mapping) and content:
        lines = [f"{json.dumps(str(key))}: {compact_json(value, inner)}" for key, value in content.items()]
        return _bracketed("{", lines, "}", indent)
    if isinstance(content, list | tuple) and any(isinstance(item, Mapping) for item in content):
        return _bracketed("[", [json.dumps(item) for item in content], "]", indent)
    return json.dumps(content)


def _bracketed(opening: str, lines: list[str], closing: str, indent: str) -> str:
    """Return lines between brackets, each indented by two spaces more than the brackets."""
    text = ",\n".join(f"{indent}  {line}" for line in lines)
    return f"{opening}\n{text}\n{indent}{closing}"
