"""fastlin beside the tools that people use for sweeps instead: the same sweep, run by each of them.

`grid` holds the sweep and the functions that the tools map. A `Tool` runs it: `loops` are loops in Python
with files written by hand, `xyzpy_crop`, `pipefunc_map` and `dask_blocks` use a library, and `fastlin_run`
is fastlin. `tools` lists them. `process` runs one step of a tool in a process of its own. There `probe`
counts the computed points, kills the process half-way or lets a point fail. `measure` takes the figures, and
`tables` writes them.
"""
