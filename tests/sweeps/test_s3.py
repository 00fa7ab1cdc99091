"""Stores in a bucket behave as stores in a folder, on a real server on the loopback interface."""

import os
import pickle
import random
import shutil
import time
from functools import partial

import numpy as np
import pytest

import fastlin as fl
from fastlin.sweeps.run.repair import repair
from fastlin.sweeps.store import lease_holders, metadata, s3
from fastlin.sweeps.store.locate import locate
from fastlin.sweeps.store.location import SCRATCH
from fastlin.sweeps.store.status import sweep_status
from fastlin.sweeps.store.verify import verify
from tests import commands
from tests.campaign import trials
from tests.commands import BLOCKS, SMALL, run_to_end
from tests.fault_injection import PATIENCE, started, until
from tests.planting import Gate
from tests.sweeping import content

pytest.importorskip("obstore", reason="no obstore: it is in fastlin's extra s3")
if shutil.which("moto_server") is None:
    pytest.importorskip("moto.server", reason="no moto_server to talk to")

import obstore

from tests import buckets

pytestmark = pytest.mark.processes

LARGER = SMALL.replace("num = 6", "num = 9").replace("[0.5, 1.0]", "[0.5, 0.7, 1.0]")
LATER = SMALL.replace("[0.0, 0.9, 9.0, inf]", "[0.0, 0.9, 2.0, 9.0, inf]")
REDUCED = '\n[output.reduce]\nstatistics = ["mean", "max"]\n'
# The bytes of these depend on the time and the process of a run, and not on the spec.
PASSING = {lease_holders.KEY, f"{SCRATCH}/lock"}


@pytest.fixture(scope="module")
def server():
    with buckets.serving() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server
    s3._connected.cache_clear()


@pytest.fixture
def source(tmp_path):
    def file(text=SMALL):
        path = tmp_path / "spec.toml"
        path.write_text(text)
        return path

    return file


@pytest.fixture
def prefix(tmp_path):
    return f"{tmp_path.name}/s.zarr"


def address(prefix):
    return f"s3://{buckets.BUCKET}/{prefix}"


def run(server, source, prefix, *options, patches=(commands.smaller_blocks,)):
    arguments = ["run", source, "--store", address(prefix), "--json", *options]
    return run_to_end(*arguments, patches=patches, environment=server.environment)


def in_folder(tmp_path, *sources):
    """Return the files of a store in a folder after runs of several specs in turn."""
    path = tmp_path / "folder.zarr"
    for source in sources:
        assert run_to_end("run", source, "--store", path, patches=[commands.smaller_blocks]).code == 0
    return {key: data for key, data in content(path).items() if key not in PASSING}


def objects(server, prefix):
    return {key: data for key, data in server.content(prefix).items() if key not in PASSING}


@pytest.mark.parametrize(
    "text",
    [pytest.param(SMALL, id="points", marks=pytest.mark.slow), pytest.param(SMALL + REDUCED, id="reduced")],
)
def test_objects_equal_the_files_of_a_folder(server, source, prefix, tmp_path, text):
    done = run(server, source(text), prefix)
    assert done.code == 0, done.err
    assert objects(server, prefix) == in_folder(tmp_path, source(text))
    resumed = run(server, source(text), prefix)
    assert resumed.report["computed_blocks"] == 0


@pytest.mark.parametrize("name", ["plain", "a/b/c", "with space", "x#1?y%20", "é", "trailing/"])
def test_names_of_prefixes_are_not_changed(server, name):
    place = locate(f"s3://{buckets.BUCKET}/names/{name}")
    assert not place.exists()
    place.write("k/c.0", np.arange(3), b"end")
    assert place.read("k/c.0") == np.arange(3).tobytes() + b"end"
    assert [entry.key for entry in place.entries("")] == ["k/c.0"]
    assert server.content(f"names/{name.strip('/')}")
    place.delete("k/c.0")
    place.delete("k/c.0")
    assert not place.exists()


@pytest.mark.parametrize(
    "path", ["s3://", "s3://sweeps", "s3://sweeps/", "s3:///x", "s3://a b/x", "s3://A/x"]
)
@pytest.mark.parametrize("rest", ["", "//y", "/../y", "/./y"])
def test_invalid_addresses_are_named(path, rest):
    with pytest.raises(fl.InputError, match="needed is the path of a folder, or s3://bucket/path"):
        locate(path + rest)


def test_swaps_are_conditional(server, prefix):
    place = locate(address(prefix))
    assert not place.swap("k", b"other", b"new")
    assert place.swap("k", None, b"one")
    assert not place.swap("k", None, b"two")
    assert place.swap("k", b"one", b"two")
    assert place.read("k") == b"two"
    assert not place.swap("k", b"one", b"three")


@pytest.mark.parametrize("old", [None, b"old"])
def test_a_swap_fails_after_a_concurrent_write(server, prefix, monkeypatch, old):
    place = locate(address(prefix))
    if old is not None:
        place.write("k", old)
    real = s3.S3Prefix._get

    def get(location, key):
        value = real(location, key)
        location.write(key, b"theirs")
        return value

    with monkeypatch.context() as patch:
        patch.setattr(s3.S3Prefix, "_get", get)
        assert not place.swap("k", old, b"mine")
    assert place.read("k") == b"theirs"


@trials(1, 15)
def test_a_killed_run_is_resumed(server, source, prefix, tmp_path, trials):
    expected = in_folder(tmp_path, source())
    chance = random.Random(5)
    for trial in range(trials):
        run_prefix, wanted = f"{prefix}/{trial}", chance.randrange(1, BLOCKS - 2)
        arguments = ["run", source(), "--store", address(run_prefix)]
        patches = [commands.smaller_blocks, Gate(tmp_path / f"gate-{trial}", wanted).patch]
        with commands.command(*arguments, patches=patches, environment=server.environment) as killed:
            until(lambda prefix=run_prefix, wanted=wanted: len(server.marks(prefix)) == wanted)
            killed.kill()
        last = run(server, source(), run_prefix)
        assert (last.code, last.report["computed_blocks"]) == (0, BLOCKS - wanted)
        assert objects(server, run_prefix) == expected


@pytest.mark.parametrize(
    "texts",
    [
        pytest.param((SMALL, LARGER), id="points"),
        pytest.param((SMALL, LATER), id="times", marks=pytest.mark.slow),
        pytest.param((SMALL + REDUCED, LARGER + REDUCED), id="reduced", marks=pytest.mark.campaign),
    ],
)
def test_a_store_grows(server, source, prefix, tmp_path, texts):
    smaller, larger = (source(text).rename(tmp_path / f"{number}.toml") for number, text in enumerate(texts))
    path = address(prefix)
    assert run(server, smaller, prefix).code == 0
    lazy, loaded = fl.open_sweep(path), fl.open_sweep(path).load()
    assert run(server, larger, prefix).report["pending"] == 0
    assert objects(server, prefix) == in_folder(tmp_path, smaller, larger)
    if REDUCED not in texts[0]:  # statistics change with the seeds
        assert lazy.load().identical(loaded)
    fl.run_sweep(larger, tmp_path / "fresh.zarr")
    points, expected = fl.open_sweep(path).load(), fl.open_sweep(tmp_path / "fresh.zarr").load()
    for name in expected.data_vars:
        assert np.array_equal(points[name], expected[name], equal_nan=True)
        assert points[name].dims == expected[name].dims


def test_another_spec_is_refused(server, source, prefix, tmp_path):
    assert run(server, source(), prefix).code == 0
    before = server.content(prefix)
    done = run(server, source(SMALL.replace("n_samples = 8", "n_samples = 9")), prefix)
    assert done.code == 2
    assert done.line.startswith(f"the store {address(prefix)} was made from another spec")
    assert "task.n_samples: the store has 8, the spec 9" in done.err
    assert server.content(prefix) == before


@trials(2, 60)
def test_every_flipped_bit_is_found_and_repaired(server, source, prefix, tmp_path, trials):
    assert run(server, source(SMALL + REDUCED), prefix).code == 0
    whole = objects(server, prefix)
    store, chance = server.objects(prefix), random.Random(6)
    path = address(prefix)
    assert verify(path) == []
    for key in chance.sample(sorted(whole), min(trials, len(whole))):
        data = bytearray(whole[key])
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        obstore.put(store, key, bytes(data))
        assert [entry.key for entry in verify(path)] == [key]
        damaged, report = repair(path)
        assert [entry.key for entry in damaged] == [key]
        assert report.pending == 0
        assert objects(server, prefix) == whole, key


def test_missing_files_are_found_and_repaired_by_the_command_line(server, source, prefix, tmp_path):
    assert run(server, source(), prefix).code == 0
    whole = objects(server, prefix)
    for key in ("loss/c.0.0.1.0.0", "seed/zarr.json", metadata.ROOT):
        obstore.delete(server.objects(prefix), key)
    verified = run_to_end("verify", address(prefix), environment=server.environment)
    assert verified.code == 1
    assert "3 damaged; fastlin repair" in verified.out
    mended = run_to_end("repair", address(prefix), "--json", environment=server.environment)
    assert (mended.code, mended.report["computed_blocks"]) == (0, 1), mended.err
    assert objects(server, prefix) == whole
    assert run_to_end("verify", address(prefix), environment=server.environment).code == 0


def test_status_reading_and_plot(server, source, prefix, tmp_path):
    assert run(server, source(), prefix).code == 0
    path = address(prefix)
    status = sweep_status(path)
    assert (status["points"], status["ok"], status["complete_blocks"], status["holders"]) == (
        120,
        120,
        BLOCKS,
        [],
    )
    dataset = fl.open_sweep(path)
    fl.run_sweep(source(), tmp_path / "f.zarr")
    expected = fl.open_sweep(tmp_path / "f.zarr").load()
    assert pickle.loads(pickle.dumps(dataset)).load().identical(expected)
    net = fl.rebuild(dataset, architecture="3-4-3", seed=2, lam=2.0, init_scale=0.5)[1]
    assert net.w1.shape == (4, 3)
    picture = tmp_path / "p.png"
    assert run_to_end("plot", path, "--out", picture, environment=server.environment).code == 0
    assert picture.stat().st_size > 1000
    text = run_to_end("status", path, environment=server.environment).out
    assert text.startswith(f"{path}: small, 120 of 120 points done")


@pytest.mark.slow
def test_a_picture_of_a_bucket_is_saved_in_the_current_folder(server, source, prefix, tmp_path):
    assert run(server, source(), prefix).code == 0
    change_folder = partial(os.chdir, tmp_path)
    done = run_to_end("plot", address(prefix), patches=[change_folder], environment=server.environment)
    assert done.out == f"picture: {tmp_path / 's.png'}\n"
    assert (tmp_path / "s.png").stat().st_size > 1000


@trials(1, 40)
def test_one_of_two_simultaneous_runs_is_refused(server, source, prefix, tmp_path, trials):
    """No block is computed before one run has ended, so the run that continues cannot have been complete."""
    expected = in_folder(tmp_path, source())
    for trial in range(trials):
        run_prefix, gate = f"{prefix}/{trial}", Gate(tmp_path / f"gate-{trial}", 0)
        both = [["run", source(), "--store", address(run_prefix), "--json"]] * 2
        patches = [commands.smaller_blocks, gate.patch]
        with commands.commands(*both, patches=patches, environment=server.environment) as two:
            until(lambda two=two: not all(command.running for command in two))
            gate.open()
            ends = [command.end() for command in two]
        assert sorted(end.code for end in ends) == [0, 1], [end.err for end in ends]
        ((other, end),) = [(other, end) for other, end in zip(reversed(two), ends, strict=True) if end.code]
        assert f"{address(run_prefix)} is being written by process {other.pid} on" in end.line
        assert objects(server, run_prefix) == expected


@pytest.mark.slow
@trials(1, 15)
def test_slices_make_and_fill_one_store(server, source, prefix, tmp_path, trials):
    expected = in_folder(tmp_path, source())
    for trial in range(trials):
        run_prefix = f"{prefix}/{trial}"
        three = [
            ["run", source(), "--store", address(run_prefix), "--json", "--slice", f"{i}/3"]
            for i in (1, 2, 3)
        ]
        patches = [commands.smaller_blocks]
        with commands.commands(*three, patches=patches, environment=server.environment) as jobs:
            ends = [command.end() for command in jobs]
        assert [end.code for end in ends] == [0, 0, 0], [end.err for end in ends]
        assert [end.report["computed_blocks"] for end in ends] == [4, 4, 4]
        assert objects(server, run_prefix) == expected


@pytest.mark.slow
def test_worker_processes(server, source, prefix, tmp_path):
    arguments = ["run", source(), "--store", address(prefix), "--json", "--workers", "2"]
    with started(*arguments, **server.environment) as process:
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    fl.run_sweep(source(), tmp_path / "f.zarr")
    files = {key: data for key, data in content(tmp_path / "f.zarr").items() if key not in PASSING}
    assert objects(server, prefix) == files


def check_one_line(done, code, *texts):
    assert done.code == code, done.err
    for text in texts:
        assert text in done.line
    assert "Traceback" not in done.err and "internal error" not in done.err


def test_a_missing_bucket_is_one_line(server, source):
    path = "s3://nowhere-at-all/s.zarr"
    for arguments in (["run", source(), "--store", path], ["status", path], ["verify", path], ["plot", path]):
        done = run_to_end(*arguments, environment=server.environment)
        check_one_line(done, 1, path, "The specified bucket does not exist")


def test_a_missing_store_is_one_line(server):
    path = address("nothing/here.zarr")
    for name in ("status", "verify", "repair", "plot"):
        done = run_to_end(name, path, environment=server.environment)
        check_one_line(done, 2, f"there is no store at {path}")


def test_refused_keys_are_one_line(source):
    with buckets.serving() as strict:
        strict.check_keys()
        done = run(strict, source(), "s.zarr")
        check_one_line(done, 1, address("s.zarr"), "Access Key Id you provided does not exist")


def test_a_missing_server_is_one_line(source):
    with buckets.absent() as absent:
        done = run(absent, source(), "s.zarr")
    check_one_line(done, 1, address("s.zarr"), f"error sending request at {absent.address}")


@pytest.mark.parametrize(
    "options",
    [[], pytest.param(["--workers", "1"], marks=pytest.mark.campaign)],
    ids=["threads", "processes"],
)
def test_a_server_that_stops_answering_stops_the_run(source, tmp_path, options):
    """The request is repeated as often as is set, and then the run stops."""
    gate = Gate(tmp_path / "gate", 1)
    with buckets.serving() as lost:
        arguments = ["run", source(), "--store", address("s.zarr"), *options]
        patches = [commands.smaller_blocks, gate.patch, commands.retry_once]
        environment = lost.environment | gate.environment
        with commands.command(*arguments, patches=patches, environment=environment) as writer:
            until(lambda: lost.marks("s.zarr"))
            lost.end()
            gate.open()
            done = writer.end()
        check_one_line(
            done, 1, f"writing to {address('s.zarr')} failed", "run the same command again to go on"
        )


def test_a_short_outage_of_the_server_is_survived(server, source, prefix, tmp_path):
    """The server does not answer for a second, and the run continues without an error."""
    expected, gate = in_folder(tmp_path, source()), Gate(tmp_path / "gate", 1)
    arguments = ["run", source(), "--store", address(prefix)]
    patches = [commands.smaller_blocks, gate.patch]
    with commands.command(*arguments, patches=patches, environment=server.environment) as writer:
        until(lambda: server.marks(prefix))
        with server.stopped():
            gate.open()
            time.sleep(1.0)
        assert writer.end().code == 0
    assert objects(server, prefix) == expected
