"""Random streams that are a function of values, never of position.

A stream is Philox4x64-10 (Salmon et al. 2011) keyed by (seed, kind, N_i, N_h, N_o). The key words are the
values themselves. Therefore two streams never share a number, and points that a sweep gains change no other
point. Normal numbers come in pairs from two words each (Box & Muller 1958), so that their number is fixed and
each can be drawn without those before it. Uniform numbers are made of the same words.
"""

from collections.abc import Iterator
from enum import IntEnum

import numpy as np
from llvmlite import ir

from fastlin.kernels.compiler.arithmetic import fma, sqrt
from fastlin.kernels.compiler.code import VectorCode
from fastlin.kernels.compiler.elementary import log, sine_cosine_of_turns
from fastlin.kernels.compiler.jit import Array, Integers, jit
from fastlin.kernels.compiler.memory import Numbers
from fastlin.kernels.compiler.tracing import traced
from fastlin.kernels.compiler.values import DOUBLE, INTEGER, WIDTH, Index
from fastlin.kernels.compiler.workspace import aligned
from fastlin.kernels.sizes import Sizes

# Three sizes of 20 bits and a kind of 4 bits fill one 64-bit word of the key.
SIZE_BITS = 20
# Name of the rule by which streams follow from values. Another rule draws other networks from the same seeds.
SEED_RULE = "philox4x64-10 of (seed, kind, N_h, N_i, N_o), Box-Muller"
MAX_SIZE = 2**SIZE_BITS - 1
MAX_SEED = 2**63 - 1
_MULTIPLIERS = 0xD2E7470EE14C6C93, 0xCA5A826395121157
_WEYL = 0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B
_CHUNK = 512  # pairs that are drawn at a time, so that they stay in the cache


class Stream(IntEnum):
    """Purpose of a stream."""

    TARGETS = 1
    INPUTS = 2
    INIT_GAUSSIAN = 3
    INIT_REGRESSION = 4
    ROTATION = 5
    INIT_UNIFORM = 6
    BATCHES = 7
    LABEL_NOISE = 8
    TEACHER = 9
    TEACHER_NOISE = 10
    SPECTRUM = 11
    AUTOENCODER = 12
    SIMILAR_TASK = 13
    ADAPTER = 15


def stream_key(kind: Stream, sizes: Sizes) -> int:
    """Return the second word of the key of a stream. The first word is the seed."""
    parts = (int(sizes.n_h) << 2 * SIZE_BITS) | (int(sizes.n_i) << SIZE_BITS) | int(sizes.n_o)
    return (int(kind) << 3 * SIZE_BITS) | parts


def shared(sizes: Sizes) -> Sizes:
    """Return the sizes that key the streams of tasks. All N_h share a task, so N_h is 0 here."""
    return Sizes(sizes.n_i, 0, sizes.n_o)


def generator(kind: Stream, seed: int, sizes: Sizes) -> np.random.Generator:
    """Return NumPy's generator on one stream, for draws that only single networks need."""
    key = np.array([int(seed), stream_key(kind, sizes)], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def philox(code: VectorCode, seed: Index, key: Index, block: Index) -> tuple[Index, Index, Index, Index]:
    """Return the four words of a block of a stream. `numpy.random.Philox` begins with those of block 1."""
    builder, wide, word = code.builder, ir.IntType(128), ir.IntType(64)

    def product(factor: int, value: ir.Value) -> tuple[ir.Value, ir.Value]:
        """Return the high and low word of the product of two words."""
        whole = builder.mul(builder.zext(value, wide), ir.Constant(wide, factor))
        return builder.trunc(builder.lshr(whole, ir.Constant(wide, 64)), word), builder.trunc(whole, word)

    a, b, c, d = block.ir, word(0), word(0), word(0)
    first, second = seed.ir, key.ir
    for _ in range(10):
        high_a, low_a = product(_MULTIPLIERS[0], a)
        high_c, low_c = product(_MULTIPLIERS[1], c)
        a, b = builder.xor(builder.xor(high_c, b), first), low_c
        c, d = builder.xor(builder.xor(high_a, d), second), low_a
        first, second = builder.add(first, word(_WEYL[0])), builder.add(second, word(_WEYL[1]))
    return Index(code, a), Index(code, b), Index(code, c), Index(code, d)


def _fill(
    code: VectorCode,
    key: Index,
    seeds: Numbers,
    first: Index,
    stride: Index,
    blocks: Index,
    uniforms: Numbers,
) -> None:
    """Write a radius number in (0, 1] and an angle number in [0, 1) for each pair and lane.

    Two pairs make a block; `first` is the number of the first block of lane 0, and `stride` the distance to
    that of the next lane. uniforms (4 blocks, WIDTH).
    """
    builder = code.builder
    unit = ir.Constant(DOUBLE, 2.0**-53)
    for lane in code.loop(0, WIDTH):
        seed, start = Index(code, seeds.number(lane)), first + lane * stride
        for block in code.loop(0, blocks):
            words = philox(code, seed, key, start + block + 1)
            for number, word in enumerate(words):
                bits = Index(code, builder.lshr(word.ir, ir.Constant(INTEGER, 11)))
                whole = bits + 1 if number % 2 == 0 else bits
                value = builder.fmul(unit, builder.uitofp(whole.ir, DOUBLE))
                uniforms.store((block * 4 + number) * WIDTH + lane, value)


def _transform(code: VectorCode, uniform: Numbers, pairs: Index, normal: Numbers) -> None:
    """Turn pairs of uniform numbers into pairs of normal numbers, in the same order."""
    uniforms, normals = uniform.vectors(), normal.vectors()
    for pair in code.loop(0, pairs):
        radius = sqrt(-2.0 * log(uniforms[pair * 2]))
        sine, cosine = sine_cosine_of_turns(uniforms[pair * 2 + 1])
        normals[pair * 2] = radius * cosine
        normals[pair * 2 + 1] = radius * sine


def _sum_squares(code: VectorCode, uniform: Numbers, pairs: Index, total: Numbers) -> None:
    """Add the squares of the normal numbers of pairs, which are -2 log of their radius numbers."""
    uniforms, square = uniform.vectors(), code.variable(total.vectors()[0])
    for pair in code.loop(0, pairs):
        square.value = fma(log(uniforms[pair * 2]), -2.0, square.value)
    total.vectors()[0] = square.value


def _over_chunks(code: VectorCode, pairs: Index) -> Iterator[tuple[Index, Index]]:
    """Write a loop over chunks of pairs. Yield the first pair of each, and its number of pairs."""
    chunks = Index(code, code.builder.udiv((pairs + (_CHUNK - 1)).ir, ir.Constant(INTEGER, _CHUNK)))
    for chunk in code.loop(0, chunks):
        yield chunk * _CHUNK, code.least(_CHUNK, pairs - chunk * _CHUNK)


def halved(code: VectorCode, number: Index) -> Index:
    """Return the whole number of pairs of a number >= 0."""
    return Index(code, code.builder.lshr(number.ir, ir.Constant(INTEGER, 1)))


def write_normals(
    code: VectorCode,
    key: Index,
    seeds: Numbers,
    first: Index,
    pairs: Index,
    uniforms: Numbers,
    normals: Numbers,
    stride: Index | None = None,
) -> None:
    """Write standard normal numbers of a stream for each of WIDTH seeds, from pair `first` on.

    first and pairs are even; uniforms is `scratch`; normals (2 pairs, WIDTH). `stride` is the distance in
    blocks from one lane to the next, 0 by default.
    """
    apart = code.whole(0) if stride is None else stride
    for start, count in _over_chunks(code, pairs):
        code.call(_fill, key, seeds, halved(code, first + start), apart, halved(code, count), uniforms)
        code.call(_transform, uniforms, count, normals.at(start * (2 * WIDTH)))


def _centre(code: VectorCode, numbers: Numbers, pairs: Index) -> None:
    """Turn uniform numbers in [0, 1] into those in [-1, 1]. No operation rounds."""
    uniforms = numbers.vectors()
    for place in code.loop(0, pairs * 2):
        uniforms[place] = 2.0 * uniforms[place] - 1.0


def write_uniforms(code: VectorCode, key: Index, seeds: Numbers, pairs: Index, uniforms: Numbers) -> None:
    """Write uniform numbers in [-1, 1] of a stream for each of WIDTH seeds (see `standard_uniforms`).

    pairs is even; uniforms (2 pairs, WIDTH).
    """
    zero = code.whole(0)
    code.call(_fill, key, seeds, zero, zero, halved(code, pairs), uniforms)
    code.call(_centre, uniforms, pairs)


def write_squares(
    code: VectorCode,
    key: Index,
    seeds: Numbers,
    first: Index,
    count: Index,
    uniforms: Numbers,
    total: Numbers,
) -> None:
    """Add the squares of the first `count` normal numbers to total (WIDTH,).

    The squares of a pair add up to -2 log of its radius number, so only the last number of an odd count is
    computed itself.
    """
    pairs, zero = halved(code, count), code.whole(0)
    for start, chunk in _over_chunks(code, pairs):
        code.call(_fill, key, seeds, halved(code, first + start), zero, halved(code, chunk + 1), uniforms)
        code.call(_sum_squares, uniforms, chunk, total)

    def add_last() -> None:
        odd, last = pairs % 2, uniforms.at(4 * WIDTH)
        block = halved(code, first + pairs - odd)
        code.call(_fill, key, seeds, block, zero, code.whole(1), uniforms)
        code.call(_transform, uniforms, code.whole(2), last)
        number = last.vectors()[odd * 2]
        total.vectors()[0] = total.vectors()[0] + number * number

    code.given(code.equal(count % 2, 1), add_last)


def pairs_of(count: int) -> int:
    """Return the number of pairs, in whole blocks of two, that hold `count` numbers."""
    return 2 * -(-count // 4)


def scratch() -> Array:
    """Return an array for the uniform numbers of a chunk of normal numbers."""
    return aligned(2 * _CHUNK)


@traced(sized=False)
def _draw_normals(
    code: VectorCode, key: Index, seeds: Numbers, first: Index, uniforms: Numbers, normals: Numbers
) -> None:
    write_normals(code, key, seeds, first, halved(code, normals.shape[0]), uniforms, normals)


@jit
def draw_normals(key: np.uint64, seeds: Integers, first: int, uniforms: Array, normals: Array) -> None:
    """Write standard normal numbers of a stream for each of WIDTH seeds, from pair `first` on.

    first is even; uniforms is `scratch`; normals (2 pairs, WIDTH), in whole blocks.
    """
    _draw_normals(key, seeds, first, uniforms, normals)


@traced(sized=False)
def _draw_run(
    code: VectorCode, key: Index, seeds: Numbers, first: Index, uniforms: Numbers, normals: Numbers
) -> None:
    pairs = halved(code, normals.shape[0])
    write_normals(code, key, seeds, first, pairs, uniforms, normals, halved(code, pairs))


@jit
def draw_run(key: np.uint64, seeds: Integers, first: int, uniforms: Array, normals: Array) -> None:
    """Write consecutive standard normal numbers of one stream, from pair `first` on, lane after lane.

    seeds (WIDTH,) are all the same; first is even; uniforms is `scratch`; normals (2 pairs, WIDTH), in whole
    blocks: ``normals.T.ravel()`` has the order of `standard_normals`.
    """
    _draw_run(key, seeds, first, uniforms, normals)


@traced(sized=False)
def _add_squares(
    code: VectorCode,
    key: Index,
    seeds: Numbers,
    first: Index,
    count: Index,
    uniforms: Numbers,
    total: Numbers,
) -> None:
    write_squares(code, key, seeds, first, count, uniforms, total)


@jit
def add_squares(
    key: np.uint64, seeds: Integers, first: int, count: int, uniforms: Array, total: Array
) -> None:
    """Add the squares of the first `count` normal numbers to total (WIDTH,) (see `write_squares`)."""
    _add_squares(key, seeds, first, count, uniforms, total)


def standard_normals(kind: Stream, seed: int, sizes: Sizes, count: int, first: int = 0) -> Array:
    """Return `count` standard normal numbers of one stream, from pair `first` on; first is even."""
    key, seeds = np.uint64(stream_key(kind, sizes)), np.full(WIDTH, seed)
    uniforms, numbers = scratch(), np.empty(2 * pairs_of(count))
    normals = aligned(2 * _CHUNK)
    for start in range(0, numbers.size, len(normals)):
        chunk = numbers[start : start + len(normals)]
        draw_normals(key, seeds, first + start // 2, uniforms, normals[: chunk.size])
        chunk[:] = normals[: chunk.size, 0]
    return numbers[:count]


def standard_uniforms(kind: Stream, seed: int, sizes: Sizes, count: int) -> Array:
    """Return `count` numbers of one stream that are uniform in [-1, 1], of variance 1/3."""
    words = generator(kind, seed, sizes).bit_generator.random_raw(count) >> 11
    words[::2] += 1
    return np.asarray(2.0**-52 * words - 1.0)
