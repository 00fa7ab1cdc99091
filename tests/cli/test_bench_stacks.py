"""The benchmark of stacks: all functions are timed, and the table has a row of each."""

import json

from fastlin.bench import measure, report
from fastlin.bench.stacks import StackExtent


def test_stacks_are_measured_beside_loops():
    lines = []
    program = measure.Program(
        sections=("stacks",), stack_shapes=((2, 2, 2),), stack_extent=StackExtent(2, 3, 2, 1)
    )
    figures = measure.measure(program, (), lines.append)
    assert lines == ["stacks of 2-2-2"]
    assert json.loads(json.dumps(figures)) == figures
    row = figures["stacks"]["2-2-2"]
    assert row["networks"] == 6
    for function, seconds in row["functions"].items():
        assert seconds["ratio"] == seconds["loop"] / seconds["stack"]
        assert f"2-2-2, 6 networks, {function}" in report.table(figures)


def test_the_stack_of_the_benchmark_is_faster_than_its_loop():
    """The ratio is above 10 on one core. A factor of 2 tells a stack from a loop also on a busy machine."""
    program = measure.Program(sections=("stacks",), stack_extent=StackExtent(20, 17, 10, 2))
    functions = measure.measure(program, (), lambda line: None)["stacks"]["4-8-4"]["functions"]
    assert all(seconds["ratio"] > 2.0 for seconds in functions.values())
