"""Durations in words, and compact JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlin.formatting import compact_json, format_duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (0.04, "0 s"),
        (0.3, "0.3 s"),
        (9.94, "9.9 s"),
        (9.97, "10 s"),
        (59.4, "59 s"),
        (59.7, "1 min"),
        (80.0, "1 min 20 s"),
        (599.7, "10 min"),
        (1571.0, "26 min"),
        (3599.0, "1 h"),
        (12_000.0, "3 h 20 min"),
        (100_000.0, "27 h 47 min"),
        (345_600.0, "4 days"),
        (220_000.0, "2.5 days"),
        (1e9, "11,574 days"),
    ],
)
def test_durations(seconds, text):
    assert format_duration(seconds) == text


@given(st.floats(0.05, 1e10))
def test_durations_are_right_within_a_few_percent(seconds):
    units = {"s": 1, "min": 60, "h": 3600, "days": 86400}
    words = format_duration(seconds).replace(",", "").split()
    total = sum(float(number) * units[unit] for number, unit in zip(words[::2], words[1::2], strict=True))
    assert total == pytest.approx(seconds, rel=0.051, abs=0.051)


CONTENT = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@given(CONTENT)
def test_compact_json_is_json(content):
    assert json.loads(compact_json(content)) == content


def test_lists_are_on_one_line():
    lines = compact_json(
        {"spec": {"lam": [0.5] * 100}, "bad": [{"seed": 1, "at": [1, 2]}, {"seed": 2}]}
    ).splitlines()
    assert lines[2] == f'    "lam": [{", ".join(["0.5"] * 100)}]'
    assert lines[5:7] == ['    {"seed": 1, "at": [1, 2]},', '    {"seed": 2}']
