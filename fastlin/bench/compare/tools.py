"""The tools by the names of their rows."""

from fastlin.bench.compare.dask_blocks import DaskBlocks
from fastlin.bench.compare.fastlin_run import FastlinRun
from fastlin.bench.compare.loops import JaxLoop, NumpyLoop, StackLoop
from fastlin.bench.compare.pipefunc_map import PipefuncMap
from fastlin.bench.compare.tool import Tool
from fastlin.bench.compare.xyzpy_crop import XyzpyCrop

REFERENCE = "fastlin"

TOOLS: dict[str, Tool] = {
    REFERENCE: FastlinRun(),
    "loop of `fl.exact`": StackLoop(),
    "loop of NumPy": NumpyLoop(),
    "loop of JAX": JaxLoop(),
    "xyzpy": XyzpyCrop(rows=False),
    "xyzpy, seed by seed": XyzpyCrop(rows=True),
    "pipefunc": PipefuncMap(rows=False),
    "pipefunc, seed by seed": PipefuncMap(rows=True),
    "Dask": DaskBlocks(),
}
