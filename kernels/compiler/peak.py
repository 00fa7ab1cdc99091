"""The peak of one core: fused multiply-adds in registers, of which none waits for another."""

import numpy as np

from fastlin.kernels.compiler.arithmetic import fma
from fastlin.kernels.compiler.code import VectorCode
from fastlin.kernels.compiler.jit import Array, jit
from fastlin.kernels.compiler.memory import Numbers, Registers
from fastlin.kernels.compiler.tracing import traced
from fastlin.kernels.compiler.values import WIDTH, Index

# A core starts two FMAs a cycle, and each takes four cycles, so eight chains are the least. More hide delays,
# and all of these fit 32 registers.
_CHAINS = 20
FLOPS_PER_ROUND = 2 * WIDTH * _CHAINS


@traced(sized=False)
def _multiply_add(code: VectorCode, numbers: Numbers, rounds: Index) -> None:
    factor, rest = numbers[0], numbers[1]
    chains = Registers(code, (_CHAINS,))
    for chain in range(_CHAINS):
        chains[chain] = numbers[chain]
    for _round in code.loop(0, rounds):
        for chain in range(_CHAINS):
            chains[chain] = fma(chains[chain], factor, rest)
    for chain in range(_CHAINS):
        numbers.vectors(chain)[0] = chains[chain]


@jit
def _multiply_add_all(numbers: Array, rounds: int) -> None:
    _multiply_add(numbers, rounds)


def multiply_add(rounds: int) -> Array:
    """Replace x by x/2 + 1/2 `rounds` times, from x = 1/2 on. A round takes FLOPS_PER_ROUND operations."""
    numbers = np.full(_CHAINS * WIDTH, 0.5)
    _multiply_add_all(numbers, rounds)
    return numbers
