"""Random streams that are a function of values, never of position.

A stream is Philox4x64-10 (Salmon et al. 2011) keyed by (seed, kind, N_i, N_h, N_o): the key words are the
values themselves, so no two streams can meet, and extending an axis of a sweep changes no point that was
there. Normal numbers come in pairs from two words each (Box & Muller 1958): a fixed number of draws, and any
of them can be made without those before it.
"""

from enum import IntEnum
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from fastlin.kernels.compiler.arithmetic import fma, sqrt
from fastlin.kernels.compiler.code import VectorCode
from fastlin.kernels.compiler.elementary import log, sine_cosine_of_turns
from fastlin.kernels.compiler.jit import Array, Integers, jit
from fastlin.kernels.compiler.memory import Memory, Numbers
from fastlin.kernels.compiler.tracing import traced
from fastlin.kernels.compiler.values import WIDTH, Index
from fastlin.kernels.compiler.workspace import aligned
from fastlin.kernels.sizes import Sizes

# Three sizes of 20 bits and a kind of 4 bits fill one 64-bit word of the key.
SIZE_BITS = 20
# Names the rule by which streams follow from values; another rule makes other networks of the same seeds.
SEED_RULE = "philox4x64-10 of (seed, kind, N_h, N_i, N_o), Box-Muller"
MAX_SIZE = 2**SIZE_BITS - 1
MAX_SEED = 2**63 - 1
_MULTIPLIERS = np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157)
_WEYL = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)
_CHUNK = 512  # pairs that are drawn at a time, so that they stay in the cache


class Stream(IntEnum):
    """Purpose of a stream."""

    TARGETS = 1
    INPUTS = 2
    INIT_GAUSSIAN = 3
    INIT_REGRESSION = 4
    ROTATION = 5


def stream_key(kind: Stream, sizes: Sizes) -> int:
    """Return the second word of the key of a stream, the first is the seed."""
    parts = (int(sizes.n_h) << 2 * SIZE_BITS) | (int(sizes.n_i) << SIZE_BITS) | int(sizes.n_o)
    return (int(kind) << 3 * SIZE_BITS) | parts


def shared(sizes: Sizes) -> Sizes:
    """Return the sizes that key the streams of tasks, which all N_h share."""
    return Sizes(sizes.n_i, 0, sizes.n_o)


def generator(kind: Stream, seed: int, sizes: Sizes) -> np.random.Generator:
    """Return NumPy's generator on one stream, for draws that only single networks need."""
    key = np.array([int(seed), stream_key(kind, sizes)], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def _multiply(_typing: Any, x: Any, y: Any) -> Any:
    """Return the high and low word of the product of two words."""

    def write(context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> Any:
        wide, word = ir.IntType(128), ir.IntType(64)
        product = builder.mul(*(builder.zext(value, wide) for value in values))
        high = builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), word)
        return context.make_tuple(builder, result, [high, builder.trunc(product, word)])

    result = types.UniTuple(types.uint64, 2)
    return result(types.uint64, types.uint64), write


_product: Any = intrinsic(_multiply)


@jit
def philox(seed: np.uint64, key: np.uint64, block: np.uint64) -> tuple[Any, Any, Any, Any]:
    """Return the four words of a block of a stream: `numpy.random.Philox` gives those of block 1 first."""
    a, b, c, d = np.uint64(block), np.uint64(0), np.uint64(0), np.uint64(0)
    for _ in range(10):
        high_a, low_a = _product(_MULTIPLIERS[0], a)
        high_c, low_c = _product(_MULTIPLIERS[1], c)
        a, b, c, d = high_c ^ b ^ seed, low_c, high_a ^ d ^ key, low_a
        seed += _WEYL[0]
        key += _WEYL[1]
    return a, b, c, d


@jit
def _fill(key: np.uint64, seeds: Integers, first: int, pairs: int, uniforms: Array) -> None:
    """Write a radius number in (0, 1] and an angle number in [0, 1) for each pair and lane.

    Pair number `first` is even; two pairs make a block. uniforms (2 pairs, WIDTH), `pairs` even.
    """
    unit, one = 2.0**-53, np.uint64(1)
    for lane in range(WIDTH):
        seed = np.uint64(seeds[lane])
        for pair in range(0, pairs, 2):
            a, b, c, d = philox(seed, key, np.uint64((first + pair) // 2) + one)
            uniforms[2 * pair, lane] = unit * float((a >> np.uint64(11)) + one)
            uniforms[2 * pair + 1, lane] = unit * float(b >> np.uint64(11))
            uniforms[2 * pair + 2, lane] = unit * float((c >> np.uint64(11)) + one)
            uniforms[2 * pair + 3, lane] = unit * float(d >> np.uint64(11))


@traced(sized=False)
def _transform(code: VectorCode, uniform: Numbers, pairs: Index, normal: Numbers) -> None:
    """Turn pairs of uniform numbers into pairs of normal ones, in the same order."""
    uniforms, normals = uniform.vectors(), normal.vectors()
    for pair in code.loop(0, pairs):
        radius = sqrt(-2.0 * log(uniforms[2 * pair]))
        sine, cosine = sine_cosine_of_turns(uniforms[2 * pair + 1])
        normals[2 * pair] = radius * cosine
        normals[2 * pair + 1] = radius * sine


@traced(sized=False, total="")
def _add_squares(code: VectorCode, uniform: Numbers, pairs: Index, total: Memory) -> None:
    """Add the squares of the normal numbers of pairs, which are -2 log of their radius numbers."""
    uniforms, square = uniform.vectors(), code.variable(total[()])
    for pair in code.loop(0, pairs):
        square.value = fma(log(uniforms[2 * pair]), -2.0, square.value)
    total[()] = square.value


def pairs_of(count: int) -> int:
    """Return how many pairs, in whole blocks of two, hold `count` numbers."""
    return 2 * -(-count // 4)


def scratch() -> Array:
    """Return room for the uniform numbers behind a chunk of normal ones."""
    return aligned(2 * _CHUNK)


@jit
def draw_normals(key: np.uint64, seeds: Integers, first: int, uniforms: Array, normals: Array) -> None:
    """Write standard normal numbers of a stream for each of WIDTH seeds, from pair `first` on.

    first is even; uniforms is `scratch`; normals (2 pairs, WIDTH), in whole blocks.
    """
    pairs = normals.shape[0] // 2
    for start in range(0, pairs, _CHUNK):
        count = min(_CHUNK, pairs - start)
        _fill(key, seeds, first + start, count, uniforms)
        _transform(uniforms, count, normals[2 * start : 2 * (start + count)])


@jit
def add_squares(
    key: np.uint64, seeds: Integers, first: int, count: int, uniforms: Array, total: Array
) -> None:
    """Add the squares of the first `count` of those numbers to total (WIDTH,), nearly without the numbers."""
    pairs = count // 2
    for start in range(0, pairs, _CHUNK):
        here = min(_CHUNK, pairs - start)
        _fill(key, seeds, first + start, here + here % 2, uniforms)
        _add_squares(uniforms, here, total)
    if count % 2 == 1:
        last = np.empty((4, WIDTH))
        draw_normals(key, seeds, first + pairs - pairs % 2, uniforms, last)
        total += last[2 * (pairs % 2)] ** 2


def standard_normals(kind: Stream, seed: int, sizes: Sizes, count: int, first: int = 0) -> Array:
    """Return `count` standard normal numbers of one stream, from pair `first` on; first is even."""
    key, seeds = np.uint64(stream_key(kind, sizes)), np.full(WIDTH, seed)
    uniforms, numbers = scratch(), np.empty(2 * pairs_of(count))
    room = aligned(2 * _CHUNK)
    for start in range(0, numbers.size, len(room)):
        here = numbers[start : start + len(room)]
        draw_normals(key, seeds, first + start // 2, uniforms, room[: here.size])
        here[:] = room[: here.size, 0]
    return numbers[:count]
