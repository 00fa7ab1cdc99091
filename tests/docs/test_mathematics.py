"""The page of corrections names the tests that show them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "fastlin/docs/mathematics/corrections.md"
TESTS = ROOT / "tests/network/test_corrections.py"


def test_corrections_name_every_test_of_a_correction_and_no_other():
    named = re.findall(r"`(test_\w+)`", PAGE.read_text(encoding="utf-8"))
    defined = re.findall(r"^def (test_\w+)", TESTS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sorted(named) == sorted(defined)
