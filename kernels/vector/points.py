"""The loop over vectors of the points of a batch: pairs (record, lam), or their product."""

from __future__ import annotations

from collections.abc import Iterator

from llvmlite import ir

from fastlin.kernels.batch import Batch
from fastlin.kernels.compiler.code import VectorCode
from fastlin.kernels.compiler.memory import Memory, Numbers, Spread
from fastlin.kernels.compiler.protocols import Whole
from fastlin.kernels.compiler.values import DOUBLE, INTEGER, VECTOR, WIDTH, Index, Lane


class Points:
    """The points of some vectors, from point `first` on. Lanes past the last point repeat a point."""

    def __init__(
        self,
        code: VectorCode,
        batch: Batch,
        first: Index,
        records: Numbers,
        lam: Memory,
        kappa: Memory | None,
    ) -> None:
        self._code, self._batch, self._first = code, batch, first
        self._records, self._lam, self._kappa = records, lam, kappa

    def lam(self, vector: Whole) -> Lane:
        """Return lam of the lanes of a vector."""
        return self._lam[vector]

    def kappa(self, vector: Whole) -> Lane:
        """Return kappa of the lanes of a vector, of a loop that was given it."""
        assert self._kappa is not None
        return self._kappa[vector]

    def records(self, vector: Whole) -> Spread:
        """Return the records of the lanes of a vector."""
        return Spread(self._batch.records, [self._records[vector * WIDTH + lane] for lane in range(WIDTH)])

    def outputs(self, vector: Whole) -> Spread:
        """Return the output arrays of the lanes of a vector, which are indexed by time."""
        times = self._batch.outputs.shape[2]
        points = [self._first + vector * WIDTH + lane for lane in range(WIDTH)]
        return Spread(self._batch.outputs, [point * times for point in points])

    @property
    def output_size(self) -> Index:
        """Distance between two outputs, in numbers."""
        _, points, times = self._batch.outputs.shape
        size: Index = points * times
        return size

    def store_status(self, vector: Whole, status: Lane) -> None:
        """Write the codes of the lanes of a vector."""
        self._code.store_codes(self._batch.status, self._first + vector * WIDTH, status)


def over_points(
    code: VectorCode, batch: Batch, vectors: int, kappa: Numbers | None = None
) -> Iterator[Points]:
    """Write a loop over all points, `vectors` vectors at a time, around the body of a `for`.

    `kappa` holds one number for all points, or that of each point of a paired batch.
    """
    builder, lanes = code.builder, vectors * WIDTH
    (seeds, length), lams = batch.records.shape, batch.lam.shape[0]
    with builder.goto_entry_block():
        lam = builder.alloca(VECTOR, vectors)
        balance = None if kappa is None else builder.alloca(VECTOR, vectors)
        record = builder.alloca(INTEGER, lanes)
        seed, column = builder.alloca(INTEGER), builder.alloca(INTEGER)
    zero, one = ir.Constant(INTEGER, 0), ir.Constant(INTEGER, 1)
    builder.store(zero, seed)
    builder.store(zero, column)
    last = builder.sub(seeds.ir, one)
    points = builder.mul(seeds.ir, builder.select(batch.paired.ir, one, lams.ir))
    rounds = builder.udiv(builder.add(points, ir.Constant(INTEGER, lanes - 1)), ir.Constant(INTEGER, lanes))

    def copy(numbers: Numbers, place: ir.Value, vector: ir.Value, lane: int) -> None:
        """Copy a number to a lane."""
        flat = builder.bitcast(vector, DOUBLE.as_pointer())
        value = numbers.number(Index(code, place))
        builder.store(value, builder.gep(flat, [ir.Constant(INTEGER, lane)]))

    for number in code.loop(0, Index(code, rounds)):
        for lane in range(lanes):
            row, at = builder.load(seed), builder.load(column)
            beyond = builder.icmp_signed(">", row, last)  # lanes whose results are not read
            row, at = builder.select(beyond, last, row), builder.select(beyond, zero, at)
            place = Index(code, row) * length
            builder.store(place.ir, builder.gep(record, [ir.Constant(INTEGER, lane)]))
            copy(batch.lam, at, lam, lane)
            if kappa is not None:
                shared = builder.icmp_signed("==", kappa.shape[0].ir, one)
                copy(kappa, builder.select(shared, zero, at), balance, lane)
            following = builder.add(at, one)
            wraps = builder.icmp_signed("==", following, lams.ir)
            builder.store(builder.select(wraps, zero, following), column)
            ends = builder.or_(wraps, batch.paired.ir)  # this is the last point of its record
            builder.store(builder.select(ends, builder.add(row, one), row), seed)
        kappas = None if balance is None else Memory(code, balance, (vectors,))
        yield Points(
            code, batch, number * lanes, Numbers(code, record), Memory(code, lam, (vectors,)), kappas
        )
