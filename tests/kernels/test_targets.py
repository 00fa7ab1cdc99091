"""The vector code compiles for other processors, and calls no function that they may lack."""

import re

import llvmlite.binding as llvm
import pytest
from llvmlite import ir

from fastlin import kernels
from fastlin.kernels.batch import Batch
from fastlin.kernels.codes import Start
from fastlin.kernels.compiler.code import VectorCode
from fastlin.kernels.compiler.memory import Memory, Numbers
from fastlin.kernels.compiler.static import Loaded
from fastlin.kernels.compiler.values import DOUBLE, INTEGER, Index
from fastlin.kernels.sizes import RawSizes, Sizes
from fastlin.kernels.vector import (
    closed_form,
    flow,
    gradient_descent,
    inputs_flow,
    problems,
    raw_problems,
    time_scales,
)
from fastlin.kernels.vector.forms import form

# Name of the target: triple, processor and features.
TARGETS = {
    "x86-64 without AVX": ("x86_64-unknown-linux-gnu", "x86-64", ""),
    "x86-64 with AVX2": ("x86_64-unknown-linux-gnu", "haswell", ""),
    "x86-64 with AVX-512": ("x86_64-unknown-linux-gnu", "skylake-avx512", ""),
    "Windows with AVX2": ("x86_64-pc-windows-msvc", "haswell", ""),
    "aarch64 Linux": ("aarch64-unknown-linux-gnu", "generic", ""),
    "aarch64 Apple": ("arm64-apple-darwin", "apple-m1", ""),
}
# Without AVX there is no fused multiply-add, so the code calls that of the C library, which is slow. Loops
# over memory may become calls of the C library.
ALLOWED = {"memset", "memcpy", "memmove", "bzero"}
SIZES = {"width 3": Sizes(5, 3, 4), "wide": Sizes(12, 11, 10)}
BYTES = ir.IntType(8).as_pointer()


@pytest.fixture(scope="module", autouse=True)
def all_targets():
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


class Writer:
    """Writes a traced kernel as a function that takes a table of sizes, arrays and numbers."""

    def __init__(self, triple):
        self.module = ir.Module(name="kernel")
        self.module.triple = triple
        kind = ir.FunctionType(
            ir.VoidType(), [INTEGER.as_pointer(), *[BYTES] * 24, *[INTEGER] * 24, *[DOUBLE] * 8]
        )
        function = ir.Function(self.module, kind, "kernel")
        self.code = VectorCode(None, ir.IRBuilder(function.append_basic_block("entry")))
        self.table, *rest = function.args
        self._pointers, self._integers, self._doubles = iter(rest[:24]), iter(rest[24:48]), iter(rest[48:])

    def load(self, sizes, workspace, unroll=True):
        kind = form(sizes, workspace, unroll=unroll).type
        self.code.sizes = Loaded(self.code, self.table, kind, at_head=False)

    def index(self):
        return Index(self.code, next(self._integers))

    def array(self, dims, kind=DOUBLE):
        pointer = self.code.builder.bitcast(next(self._pointers), kind.as_pointer())
        return Numbers(self.code, pointer, tuple(self.index() for _ in range(dims)))

    def lane(self):
        return self.code.repeat(next(self._doubles))

    def batch(self, times):
        status, paired = self.array(1, ir.IntType(8)), self.code.equal(self.index(), 1)
        return Batch(self.array(2), self.array(1), self.array(1, times), self.array(3), status, paired)

    def finish(self):
        self.code.builder.ret_void()
        return str(self.module)


def drawn(writer):
    """Return the arguments that draw problems."""
    return problems.Setting(
        seeds=writer.array(1, INTEGER),
        target_key=writer.index(),
        targets_off=writer.index(),
        target_unit=writer.lane(),
        init_key=writer.index(),
        init_uniform=writer.index(),
        scales=writer.array(1),
        lanes=writer.array(1, INTEGER),
        floors=writer.array(1),
        uniforms=writer.array(2),
        targets=writer.array(2),
        numbers=writer.array(2),
        records=writer.array(2),
    )


def write_set_up(writer, sizes):
    writer.load(sizes, problems.SetUp, unroll=False)
    setting = drawn(writer)
    problems._set_up_records.body(writer.code, "weights", writer.array(2), setting, writer.lane())


def write_raw_set_up(writer, sizes):
    writer.load(RawSizes(sizes.n_i, sizes.n_h, sizes.n_o), raw_problems.RawSetUp, unroll=False)
    numbers = writer.lane(), writer.lane()
    setting = drawn(writer)
    raw_problems._set_up_raw_records.body(writer.code, writer.array(2), setting, *numbers)


def write_closed_form(writer, sizes):
    writer.load(sizes, closed_form.Dynamics)
    outputs = tuple(map(int, kernels.Output))
    way = writer.array(1, INTEGER)
    closed_form._solve.body(writer.code, outputs, writer.array(2), writer.batch(DOUBLE), way, writer.lane())


def write_gradient_descent(writer, sizes):
    writer.load(sizes, gradient_descent.Dynamics)
    outputs = tuple(map(int, kernels.Output))
    variant = gradient_descent.Variant(Start.RAW, decays=True)
    work, batch = writer.array(2), writer.batch(INTEGER)
    rate, decay = writer.lane(), (writer.lane(), writer.lane())
    gradient_descent._descend.body(writer.code, variant, outputs, work, batch, rate, writer.array(1), *decay)


def write_flow(writer, sizes):
    writer.load(sizes, flow.Flow)
    work, records, offsets = writer.array(2), writer.array(2), writer.array(1, INTEGER)
    flow._begin.body(writer.code, Start.BALANCED, work, records, offsets)
    flow._attempt.body(writer.code, Start.BALANCED, work, writer.array(1, ir.IntType(8)))


def write_flow_on_inputs(writer, sizes):
    writer.load(sizes.unreduced, inputs_flow.InputsFlow)
    work, records, offsets = writer.array(2), writer.array(2), writer.array(1, INTEGER)
    flow._begin.body(writer.code, Start.INPUTS, work, records, offsets)
    flow._attempt.body(writer.code, Start.INPUTS, work, writer.array(1, ir.IntType(8)))
    flow._observe.body(writer.code, Start.INPUTS, tuple(map(int, kernels.Output)), work)


def write_time_scales(writer, sizes):
    writer.load(sizes, time_scales.Search)
    time_scales._write_scales.body(
        writer.code, (0, 1, 2), writer.array(2), writer.batch(DOUBLE), writer.lane()
    )


def write_follow(writer, sizes):
    writer.load(sizes, closed_form.Dynamics)
    code = writer.code
    shapes = {
        "lam": "",
        "s": "m",
        "q0": "n width",
        "rate": "width",
        "excess": "width",
        "w": "n",
        "rates": "n",
    }
    arguments = {
        name: Memory(code, writer.array(0).pointer, tuple(getattr(code.sizes, dim) for dim in dims.split()))
        for name, dims in shapes.items()
    }
    first = [arguments.pop(name) for name in ("lam", "s", "q0")]
    work, times, path = writer.array(2), writer.array(1), writer.array(3)
    given = (True, work, writer.lane(), *first, times, path)
    closed_form._follow_vector.body(code, *given, *arguments.values())


KERNELS = {
    "set-up": write_set_up,
    "raw set-up": write_raw_set_up,
    "closed form": write_closed_form,
    "gradient descent": write_gradient_descent,
    "flow": write_flow,
    "flow on inputs": write_flow_on_inputs,
    "time scales": write_time_scales,
    "follow": write_follow,
}


def assembly(text, triple, processor, features):
    """Return the assembly of LLVM code, optimised for a processor."""
    module = llvm.parse_assembly(text)
    module.verify()
    machine = llvm.Target.from_triple(triple).create_target_machine(cpu=processor, features=features, opt=2)
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2))
    builder.getModulePassManager().run(module, builder)
    return machine.emit_assembly(module)


def called(text):
    """Return the names of the external functions that assembly calls."""
    direct = re.findall(r"^[ \t]+(?:callq?|bl|b)[ \t]+_?([A-Za-z]\w*)", text, re.MULTILINE)
    by_address = re.findall(r"\b_?([A-Za-z]\w*)@(?:PLT|GOT)", text)
    return {name for name in (*direct, *by_address) if not name.startswith(("part", "LBB", "BB"))}


# These targets differ most from this machine. One form of each is tested by default. The others are slow
# tests of a minute.
QUICK = {"x86-64 without AVX": "wide", "aarch64 Apple": "width 3"}
MARKED = [
    pytest.param(
        target, sizes, id=f"{target}-{sizes}", marks=() if QUICK.get(target) == sizes else pytest.mark.slow
    )
    for target in TARGETS
    for sizes in SIZES
]


@pytest.mark.parametrize(("target", "sizes"), MARKED)
@pytest.mark.parametrize("name", KERNELS)
def test_kernels_compile_for_other_processors(name, target, sizes):
    triple, processor, features = TARGETS[target]
    writer = Writer(triple)
    KERNELS[name](writer, SIZES[sizes])
    text = assembly(writer.finish(), triple, processor, features)
    assert "kernel" in text
    assert called(text) <= ALLOWED | ({"fma"} if target == "x86-64 without AVX" else set())
    # Only x86 is slow on numbers below the normal range.
    flushes = name not in ("set-up", "raw set-up", "follow")
    assert ("mxcsr" in text) == (triple.startswith("x86_64") and flushes)
