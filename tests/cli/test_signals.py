"""Signals end a command at once: the lease is released, and the exit code is 128 + the signal."""

import os
import signal
from functools import partial
from types import SimpleNamespace

import pytest

from fastlin.cli import signals
from fastlin.errors import CONTINUE
from fastlin.sweeps.store import lease_holders
from fastlin.sweeps.store.locate import locate
from tests import commands
from tests.commands import SMALL
from tests.fault_injection import until
from tests.planting import Gate
from tests.sweeping import content, marks

NAMES = [name for name in signals.NAMES if hasattr(signal, name)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The path of a spec, and the content of its store."""
    folder = tmp_path_factory.mktemp("signals")
    (folder / "small.toml").write_text(SMALL)
    arguments = ("run", folder / "small.toml", "--store", folder / "whole.zarr")
    assert commands.run_to_end(*arguments, patches=[commands.smaller_blocks]).code == 0
    return folder / "small.toml", content(folder / "whole.zarr")


def at_the_gate(source, folder, *patches):
    """Start a command whose third block waits at a gate. Return the command's context and the gate."""
    gate = Gate(folder / "gate", 2)
    arguments = ("run", source, "--store", folder / "s.zarr")
    return commands.command(*arguments, patches=[commands.smaller_blocks, gate.patch, *patches]), gate


@pytest.mark.processes
@pytest.mark.parametrize("name", NAMES)
def test_a_signal_ends_a_run_and_it_can_be_continued(whole, tmp_path, name):
    (source, expected), path, number = whole, tmp_path / "s.zarr", getattr(signal, name)
    waiting, _ = at_the_gate(source, tmp_path)
    with waiting as command:
        until(lambda: len(marks(path)) == 2)
        command.send(number)
        end = command.end()
    assert (end.code, end.line) == (128 + number, f"stopped; {CONTINUE}")
    assert lease_holders.holders(locate(path)) == []
    resumed = commands.run_to_end("run", source, "--store", path, patches=[commands.smaller_blocks])
    assert resumed.code == 0
    assert content(path) == expected


def ignoring(number):
    """Ignore a signal, as `nohup` does."""
    signal.signal(number, signal.SIG_IGN)


@pytest.mark.processes
@pytest.mark.skipif("SIGHUP" not in NAMES, reason="this system has no SIGHUP")
def test_a_signal_that_is_ignored_stays_ignored(whole, tmp_path):
    (source, expected), path = whole, tmp_path / "s.zarr"
    waiting, gate = at_the_gate(source, tmp_path, partial(ignoring, signal.SIGHUP))
    with waiting as command:
        until(lambda: len(marks(path)) == 2)
        command.send(signal.SIGHUP)
        gate.open()
        assert command.end().code == 0
    assert content(path) == expected


def test_signals_that_a_system_lacks_are_left_out(monkeypatch):
    """Windows has SIGBREAK, and no SIGHUP, SIGUSR1 and SIGXCPU."""
    handlers, exit_codes = {}, []
    windows = SimpleNamespace(
        SIGINT=2, SIGTERM=15, SIGBREAK=21, SIG_IGN=1, signal=handlers.__setitem__, getsignal=lambda _number: 0
    )
    monkeypatch.setattr(signals, "signal", windows)
    monkeypatch.setattr(signals, "os", SimpleNamespace(**{**vars(os), "_exit": exit_codes.append}))
    signals.stop_at_once(SimpleNamespace(__exit__=lambda *_arguments: None))
    assert set(handlers) == {2, 15, 21}
    handlers[21](21, None)
    assert exit_codes == [149]
