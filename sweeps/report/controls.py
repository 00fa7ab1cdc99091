"""The controls of a report, as HTML: choices of observable and axes, a slider for each axis of numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from fastlin.sweeps.report.axes import is_drawn


def choices(content: Mapping[str, Any]) -> str:
    """Return the choices: observable, axes, values of axes without numbers, architectures, scales."""
    axes = _several(content)
    observables = [quantity["label"] for quantity in content["quantities"]]
    drawn = [(name, axis["label"]) for name, axis in axes.items() if is_drawn(axis)]
    sides = [
        _select(side, drawn if content["y"] else [], content[side[0]], len(drawn) > 1)
        for side in ("x axis", "y axis")
    ]
    texts = [
        _select(name, enumerate(axis["values"]), content["start"][name], True, name)
        for name, axis in axes.items()
        if "symbol" not in axis
    ]
    many = len(content["axes"]["architecture"]["values"]) > 1
    search = '<input type="search" id="architectures" placeholder="all, or as 4-2, wide">'
    return "\n".join(
        (
            _select("observable", enumerate(observables), content["shown"], len(observables) > 1),
            *sides,
            *texts,
            _field("search", "architectures", search, many),
            _check("logarithmic", content["log"], True),
            _check("same scale at all times", True, "time" in axes, "time"),
        )
    )


def sliders(content: Mapping[str, Any]) -> str:
    """Return a slider for each axis of numbers. It moves over their indices."""
    return "\n".join(
        f'<div class="field range" data-axis="{escape(name)}"><label for="at-{escape(name)}">'
        f"{escape(axis['words'])} <output></output></label>"
        f'<input type="range" id="at-{escape(name)}" name="{escape(name)}" min="0" '
        f'max="{len(axis["values"]) - 1}" value="{content["start"][name]}"></div>'
        for name, axis in _several(content).items()
        if "symbol" in axis
    )


def _several(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the axes with more than one value, without architectures."""
    axes = content["axes"].items()
    return {name: axis for name, axis in axes if len(axis["values"]) > 1 and name != "architecture"}


def _select(
    label: str, options: Iterable[tuple[Any, str]], chosen: Any, useful: bool, axis: str | None = None
) -> str:
    entries = "".join(
        f'<option value="{escape(str(value))}"{" selected" * (value == chosen)}>{escape(words)}</option>'
        for value, words in options
    )
    own = f' name="{escape(axis)}"' if axis else ""
    return _field("select", label, f'<select id="{_key(label, axis)}"{own}>{entries}</select>', useful, axis)


def _check(label: str, checked: bool, useful: bool, axis: str | None = None) -> str:
    box = f'<input type="checkbox" id="{_key(label)}"{" checked" * checked}>'
    name = f'<label for="{_key(label)}">{label}</label>'
    return f'<div class="field check"{_shown(useful, axis)}>{box}{name}</div>'


def _field(kind: str, label: str, control: str, useful: bool, axis: str | None = None) -> str:
    """Return a control below its label."""
    name = f'<label for="{_key(label, axis)}">{escape(label)}</label>'
    return f'<div class="field {kind}"{_shown(useful, axis)}>{name}{control}</div>'


def _shown(useful: bool, axis: str | None) -> str:
    """Return the attribute that shows a control where it is useful and the observable has its axis."""
    if not useful:
        return " hidden"
    return f' data-axis="{escape(axis)}"' if axis else ""


def _key(label: str, axis: str | None = None) -> str:
    """Return the id of a control: that of an axis has a prefix, so that it is none of the page's own."""
    return f"at-{escape(axis)}" if axis else label.replace(" ", "-")
