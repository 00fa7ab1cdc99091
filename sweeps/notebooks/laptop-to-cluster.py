# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # From laptop to cluster
#
# A sweep often starts small, on a laptop. Later it has more seeds and a finer grid, and runs on a cluster.
# Jobs end early, and disks fill up. None of this may change a number. This notebook takes one sweep through
# all of these steps, and checks each time that the store is the same, byte for byte.
#
# Lines that begin with `!` are shell commands, which work without a notebook, too. They use the fastlin of
# this kernel. All files are in a new empty folder, so that the notebook can run again.

# %%
import hashlib
import os
import sys
import tempfile
from pathlib import Path

from distributed import Client, LocalCluster

import fastlin as fl

os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
os.chdir(tempfile.mkdtemp())

# %% [markdown]
# ## Plan
#
# A spec is a TOML file. `fastlin plan` estimates a sweep before anything is computed. (This page leaves out
# its last two lines, which estimate memory and time on your machine.)

# %%
text = """
name = "scales"
[axes]
architecture = [[4, 2, 4], [4, 4, 4]]
init_scale = [0.1, 0.3, 1.0, 3.0]
seed = { start = 0, num = 2000 }
lam = { start = -9.0, stop = 9.0, num = 37 }
[task]
n_samples = 10
target_scale = 1.7320508
[dynamics]
times = [0.0, 0.9, 9.0, 90.0, inf]
[output]
observables = ["loss", "kernel_distance"]
"""
_ = Path("scales.toml").write_text(text)

# %%
# !fastlin plan scales.toml | head -3

# %% [markdown]
# A *block* is the unit of work, of writing and of resuming. It holds some groups of seeds, here two. Each
# group has one architecture and one scale, with all $\lambda$ and all times.
#
# ## On a laptop
#
# Without further options `fastlin run` uses threads on all cores. `fastlin status` shows the progress of a
# store, also during a run.

# %%
# !fastlin run scales.toml --store laptop.zarr > run.log 2>&1
# !fastlin status laptop.zarr

# %% [markdown]
# We compare stores by a fingerprint of the names and bytes of all their files.


# %%
def fingerprint(store):
    digest = hashlib.sha256()
    for file in sorted(path for path in Path(store).rglob("*") if path.is_file()):
        digest.update(str(file.relative_to(store)).encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


laptop = fingerprint("laptop.zarr")

# %% [markdown]
# ## Stop and resume
#
# A run may stop at any time: by Ctrl-C, a kill or a full disk. As an example we compute only every second
# block, which leaves a store like that of a stopped run.

# %%
report = fl.run_sweep("scales.toml", "stopped.zarr", slice="1/2")
print(f"{report.computed_blocks} of {report.blocks} blocks computed")
# !fastlin status stopped.zarr | head -2

# %% [markdown]
# The same command resumes the sweep. It does not compute complete blocks again.

# %%
report = fl.run_sweep("scales.toml", "stopped.zarr")
print(f"{report.computed_blocks} of {report.blocks} blocks computed, {report.pending} points pending")
print("the same bytes:", fingerprint("stopped.zarr") == laptop)

# %% [markdown]
# ## A job array
#
# A cluster without Dask runs a sweep by slices. Each job of an array computes its share of one store, and no
# job waits for another:
#
# ```sh
# sbatch --array=1-100 --wrap 'fastlin run scales.toml --store scales.zarr --slice $SLURM_ARRAY_TASK_ID/100'
# ```
#
# Here are the two jobs of an array of two, in reverse order:

# %%
for job in (2, 1):
    fl.run_sweep("scales.toml", "array.zarr", slice=f"{job}/2")
print("the same bytes:", fingerprint("array.zarr") == laptop)

# %% [markdown]
# ## A Dask cluster
#
# `run_sweep` takes any `distributed.Client` whose workers can reach the path of the store: that of a
# `SLURMCluster`, of a Kubernetes cluster, or, in this example, of two processes on this machine. Workers
# write their blocks themselves, so no data go through the client.

# %%
with (
    LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
    Client(cluster) as client,
):
    report = fl.run_sweep("scales.toml", "cluster.zarr", client=client)
print(f"{report.ok:,} points ok")
print("the same bytes:", fingerprint("cluster.zarr") == laptop)

# %% [markdown]
# On the command line, `fastlin run scales.toml --store cluster.zarr --scheduler tcp://...` uses a running
# scheduler, and `--slurm --workers 100` submits jobs as workers. A store may be in a bucket, too: `--store
# s3://...`.
#
# ## Growing a sweep
#
# A sweep can grow: here by twice the seeds and one more scale. Run the larger spec into the same store, and
# only the new points are computed. Old numbers cannot change, because every random draw is a function of its
# seed and its sizes, and not of its position on the grid.

# %%
larger = text.replace("num = 2000", "num = 4000").replace(
    "[0.1, 0.3, 1.0, 3.0]", "[0.1, 0.3, 1.0, 3.0, 10.0]"
)
_ = Path("larger.toml").write_text(larger)
before = fl.open_sweep("laptop.zarr").load()
report = fl.run_sweep("larger.toml", "laptop.zarr")
print(f"{report.computed_points:,} of {report.points:,} points computed")

# %%
ds = fl.open_sweep("laptop.zarr")
old = ds.sel(init_scale=before.init_scale, seed=before.seed)
print("old points are untouched:", old.equals(before))
fl.run_sweep("larger.toml", "at-once.zarr")
print("as if made at once:", ds.equals(fl.open_sweep("at-once.zarr")))

# %% [markdown]
# ## Statistics of a billion networks
#
# A sweep over a billion networks is too large to store every number. With `[output.reduce]` each worker folds
# its seeds into statistics. The size of the store then depends on the grid, and not on the number of seeds.

# %%
reduced = """
[output.reduce]
statistics = ["mean", "std"]
quantiles = [0.1, 0.5, 0.9]
"""
_ = Path("reduced.toml").write_text(larger + reduced)
fl.run_sweep("reduced.toml", "reduced.zarr")
statistics = fl.open_sweep("reduced.zarr")
statistics.statistic.values.tolist()

# %% [markdown]
# The sums behind these statistics are exact, so that they have the same bits for any distribution of seeds
# over workers. They agree with NumPy on the points of the other store:

# %%
mean = statistics.kernel_distance.sel(statistic="mean")
print("largest difference below 1e-14:", float(abs(mean - ds.kernel_distance.mean("seed")).max()) < 1e-14)

# %% [markdown]
# The preset `phase-1g` is the paper's Figure 2B with 1.4 million seeds. Its store takes about 0.3 MB.

# %%
print(f"{fl.Spec.load('phase-1g').points:,} points")

# %% [markdown]
# ## Verify and repair
#
# Each chunk has a checksum, and `fastlin verify` reads every byte. As a test we flip one bit of a file in the
# middle of the store.

# %%
chunk = sorted(Path("cluster.zarr/loss").rglob("c.*"))[3]
data = bytearray(chunk.read_bytes())
data[len(data) // 2] ^= 1
_ = chunk.write_bytes(data)
# !fastlin verify cluster.zarr

# %% [markdown]
# `fastlin repair` computes only the damaged blocks again, and gives the same bits.

# %%
# !fastlin repair cluster.zarr 2> repair.log
print("the same bytes:", fingerprint("cluster.zarr") == laptop)

# %% [markdown]
# ## Where to go from here
#
# * `fastlin --help` lists the other commands. Most of them have `--json` for scripts.
# * `fastlin run ... --durable` syncs every file, so that a loss of power cannot damage a complete block.
# * [A phase diagram from a store](phase-diagram.ipynb) analyses a store.
# * [One network](one-network.ipynb) explains the observables.
