"""The pace of a run: shares and times by the cost of blocks."""

import random

import pytest

from fastlin.sweeps.run.pace import Pace, Work


def test_time_left_goes_by_the_cost_of_blocks(clock):
    """The last architectures of the grid take a hundred times as long as the first."""
    costs = [float(n) ** 2 / 25 for n in range(1, 51)]
    pace = Pace(50, 0, Work(sum(costs), sum(costs), sum(costs), 50, 1))
    assert pace.left is None
    for number, cost in enumerate(costs, 1):
        clock(3.0 * cost)
        pace.advance(1, cost, 3.0 * cost)
        remaining = 3.0 * (sum(costs) - sum(costs[:number]))
        assert pace.left == pytest.approx(remaining, abs=1e-9)
        assert pace.share == pytest.approx(sum(costs[:number]) / sum(costs))
        assert pace.done == number


GROWING = [(20.0 + n) ** 2 / 1000 for n in range(48)]  # the blocks of a large grid of architectures
RUNS = {
    "few threads": (GROWING, 2, 0.0),
    "threads beyond the cores": (GROWING, 4, 0.0),
    "workers that take long to start": (GROWING, 2, 30.0),
    "large blocks first": (GROWING[::-1], 4, 2.0),
    "few blocks": ([1.0] * 16, 4, 3.0),
    "many workers": ([1.0] * 300, 32, 10.0),
    "short blocks": ([0.02] * 2000, 4, 1.0),
    "one thread": ([1.0] * 20, 1, 3.0),
}


@pytest.mark.parametrize("pace_of_machine", [0.5, 1.6])
@pytest.mark.parametrize(("costs", "threads", "start"), RUNS.values(), ids=RUNS)
def test_time_left_is_right_after_a_tenth_of_the_work(clock, costs, threads, start, pace_of_machine):
    """It is within a factor of 1.5 or half a block, although the time of a block varies by a quarter."""
    chance = random.Random(1)
    took = [pace_of_machine * cost * chance.uniform(0.75, 1.25) for cost in costs]
    free, ends = [start] * threads, []
    for number, each in enumerate(took):
        thread = free.index(min(free))
        free[thread] += each
        ends.append((free[thread], number))
    pace, now, done = Pace(len(costs), 0, Work(*[sum(costs)] * 3, len(costs), threads)), 0.0, 0.0
    for end, number in sorted(ends):
        clock(end - now)
        pace.advance(1, costs[number], took[number])
        now, done = end, done + costs[number]
        left = max(free) - now
        if done >= 0.1 * sum(costs):
            close = left / 1.5 < pace.left < 1.5 * left or abs(pace.left - left) < max(took) / 2
            assert close, (done / sum(costs), left, pace.left)


def test_a_slice_counts_the_whole_sweep_and_the_time_of_its_own_blocks(clock):
    pace = Pace(100, 40, Work(10.0, 6.0, 2.0, 2, 1))
    assert pace.share == pytest.approx(0.4)
    clock(4.0)
    pace.advance(10, 1.0, 4.0)
    assert (pace.done, pace.left) == (50, pytest.approx(4.0))
    assert pace.share == pytest.approx(0.5)
