"""The reference of all commands, written from their objects.

sphinx-click knows the commands of click, and typer has commands of its own since 0.26.
"""

from __future__ import annotations

from typing import Any

import typer.main

from fastlin.cli import app
from fastlin.formatting import markdown_table

OPTIONS = "Options"  # the heading of options without a group


def reference() -> str:
    """Return one section for each command as Markdown."""
    group: Any = typer.main.get_command(app)
    parts = [_section(f"fastlin {name}", command) for name, command in group.commands.items()]
    return "\n".join([_section("fastlin", group, "COMMAND"), *parts])


def _section(name: str, command: Any, *arguments: str) -> str:
    given = [each for each in command.params if each.param_type_name == "argument"]
    usage = " ".join([name, "[OPTIONS]", *(each.metavar for each in given), *arguments])
    parts = [f"## {name}\n\n{command.help}\n\n`{usage}`\n"]
    if given:
        rows = [(f"`{each.metavar}`", each.help) for each in given]
        parts.append(markdown_table(("argument", "meaning"), rows))
    options = [each for each in command.params if each not in given]
    for title in dict.fromkeys(each.rich_help_panel or OPTIONS for each in options):
        rows = [_row(each) for each in options if (each.rich_help_panel or OPTIONS) == title]
        parts.append(markdown_table((title.lower() if title == OPTIONS else title, "default", "meaning"), rows))
    return "\n".join(parts)


def _row(option: Any) -> tuple[str, str, str]:
    value = "" if option.is_flag else f" {option.metavar or 'VALUE'}"
    names = ", ".join(f"`{name}{value}`" for name in (*option.opts, *option.secondary_opts))
    return names, _default(option), option.help


def _default(option: Any) -> str:
    if option.required:
        return "required"
    if option.is_flag:  # a pair of opposite options, as --resume and --no-resume
        return f"`{option.opts[0]}`" if option.default and option.secondary_opts else ""
    return "" if option.default in (None, []) else f"`{option.default}`"
