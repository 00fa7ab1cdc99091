"""The reference of all commands, written from their objects.

sphinx-click knows the commands of click, and typer has had commands of its own since 0.26.
"""

from __future__ import annotations

import re
from typing import Any

import typer.main

from fastlin.cli import app
from fastlin.formatting import markdown_table


def reference() -> str:
    """Return one section for each command as Markdown."""
    group: Any = typer.main.get_command(app)
    parts = [_section(f"fastlin {name}", command) for name, command in group.commands.items()]
    return "\n".join([_section("fastlin", group, "COMMAND"), *parts])


def _section(name: str, command: Any, *more: str) -> str:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    usage = " ".join([name, "[OPTIONS]", *(each.metavar for each in arguments), *more])
    parts = [f"## {name}\n\n{command.help}\n\n`{usage}`\n"]
    if arguments:
        rows = [(f"`{each.metavar}`", each.help) for each in arguments]
        parts.append(markdown_table(("argument", "meaning"), rows))
    groups: dict[str, list[tuple[str, str]]] = {}
    for option in command.params:
        if option not in arguments:
            groups.setdefault(option.rich_help_panel or "option", []).append(_row(option))
    parts += [markdown_table((title, "meaning"), rows) for title, rows in groups.items()]
    return "\n".join(parts)


def _row(option: Any) -> tuple[str, str]:
    value = "" if option.is_flag else f" {option.metavar or 'VALUE'}"
    names = ", ".join(f"`{name}{value}`" for name in (*option.opts, *option.secondary_opts))
    meaning = re.sub(r"--[\w-]+", r"`\g<0>`", option.help)  # other options in the text
    return names, f"{meaning}{_default(option)}".replace("|", r"\|")


def _default(option: Any) -> str:
    if option.required:
        return " Required."
    if option.is_flag:  # a pair of opposite options, as --resume and --no-resume
        return f" Default: `{option.opts[0]}`." if option.default and option.secondary_opts else ""
    return "" if option.default in (None, []) else f" Default: `{option.default}`."
