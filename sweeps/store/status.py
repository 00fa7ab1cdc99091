"""The status of a sweep, read from its store, which may be complete or being written."""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from fastlin.formatting import format_bytes, format_duration
from fastlin.sweeps.spec.points import POINT
from fastlin.sweeps.store.counts import bad_points, count_points, speed
from fastlin.sweeps.store.lease_holders import holders
from fastlin.sweeps.store.locate import locate
from fastlin.sweeps.store.store import Store

SHOWN = 5  # bad points, for people to read
LISTED = 10_000  # bad points, in JSON
DETAILS = ("solver", "learning_rate", "noise_seed", "last_seed")  # of a point, that `rebuild` does not take


def sweep_status(path: str | Path) -> dict[str, Any]:
    """Return the status of the sweep in a store, JSON-ready.

    Parameters
    ----------
    path : str or Path
        The store.

    Returns
    -------
    dict
        Numbers of points and blocks by status. ``bytes`` and ``files`` are those of the store as it is now.
        ``blocks_per_second`` follows from the time stamps of the commit markers of the last minute, and
        ``seconds_left`` from the estimated cost of these blocks and of the pending points; both are None if
        there are too few markers. ``holders`` are the runs that write the store now: those of the lease that
        are not known to be dead. ``bad`` are the first 10 000 points that diverged, failed or are too stiff,
        with the arguments of `rebuild`.

    Raises
    ------
    InputError
        If there is no store.
    """
    store = Store.open(locate(path))
    counts = count_points(store)
    done = int(counts.complete.sum())
    live = [holder for holder in holders(store.location) if not holder.ended]
    began = min((holder.since for holder in live), default=None)
    pace = None if began is None else speed(store, began)
    left = float(counts.pending_seconds.sum())
    return {
        "store": str(path),
        "name": store.attributes["title"],
        **counts.totals,
        "complete_blocks": done,
        **store.location.usage()._asdict(),
        "blocks_per_second": pace and pace.blocks,
        "seconds_left": left / pace.work if pace and left else None,
        "holders": [{**asdict(holder), "text": str(holder)} for holder in live],
        "bad": list(islice(bad_points(store), LISTED)) if counts.bad.any() else [],
        "versions": store.attributes["versions"],
    }


def in_words(content: dict[str, Any]) -> str:
    """Return the result of `sweep_status` for people to read."""
    done = content["points"] - content["pending"]
    rare = [name for name in ("too_stiff", "absent") if content[name]]
    lines = [
        f"{content['store']}: {content['name']}, {done:,} of {content['points']:,} points done "
        f"({content['complete_blocks']:,} of {content['blocks']:,} blocks); "
        f"{format_bytes(content['bytes'])} in {content['files']:,} files",
        f"ok {content['ok']:,}, diverged {content['diverged']:,}, failed {content['failed']:,}, "
        f"pending {content['pending']:,}"
        + "".join(f", {name.replace('_', ' ')} {content[name]:,}" for name in rare),
    ]
    if content["pending"] and content["blocks_per_second"]:
        left = format_duration(content["seconds_left"])
        lines.append(f"{content['blocks_per_second']:.3g} blocks/s in the last minute, about {left} left")
    lines += [f"being written by {holder['text']}" for holder in content["holders"]]
    if content["pending"] and not content["holders"]:
        lines.append("no run is writing it; fastlin run continues")
    lines += [f"{point['status']}: {_rebuilding(point)}" for point in content["bad"][:SHOWN]]
    bad = content["diverged"] + content["failed"] + content["too_stiff"]
    if bad > SHOWN:
        listed = "all" if bad <= LISTED else f"the first {LISTED:,}"
        lines.append(f"and {bad - SHOWN:,} more; --json lists {listed}")
    return "\n".join(lines)


def _rebuilding(point: dict[str, Any]) -> str:
    """Return the call that rebuilds a point."""
    arguments = [name for name in point if name not in (*DETAILS, "status")]
    if POINT in point:  # a row of a table has the other values
        arguments = [POINT, "seed"]
    values = ", ".join(f"{name}={point[name]!r}" for name in arguments)
    details = [f"{name} {point[name]}" for name in DETAILS if name in point]
    return f"fl.rebuild(ds, {values})" + (f" ({', '.join(details)})" if details else "")
