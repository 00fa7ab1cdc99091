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
# A sweep starts small, on a laptop. Then there are more seeds, a finer grid, a cluster; jobs end early, disks
# fill up. The numbers should not notice. This notebook takes one sweep through all of that, and checks each
# time that the store is the same, byte for byte.
#
# Lines that begin with `!` are commands for a shell. Nothing in them needs a notebook. They find the fastlin
# of this kernel, and everything is written to an empty folder, so that the notebook may run again.

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
# A spec is a TOML file: data, not code. `fastlin plan` tells what it will take, before anything is computed.
# (Two more lines, which are left out here, tell the memory and the time that it takes on your machine.)

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
# A *block* is the unit of work, of writing and of going on. It holds some groups of seeds, here two. Each is
# of one architecture at one scale, with all $\lambda$ and times.
#
# ## On a laptop
#
# Without further options, `fastlin run` uses threads on all cores. `fastlin status` tells how a store stands,
# also while it is being written.

# %%
# !fastlin run scales.toml --store laptop.zarr > run.log 2>&1
# !fastlin status laptop.zarr

# %% [markdown]
# Of each store we keep a fingerprint that depends on the name and on every byte of each of its files.


# %%
def fingerprint(store):
    digest = hashlib.sha256()
    for file in sorted(path for path in Path(store).rglob("*") if path.is_file()):
        digest.update(str(file.relative_to(store)).encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


laptop = fingerprint("laptop.zarr")

# %% [markdown]
# ## Stop, and go on
#
# A run may stop at any time: Ctrl-C, a kill, a full disk. Here we compute every second block only, which
# leaves a store just as a stopped run does.

# %%
report = fl.run_sweep("scales.toml", "stopped.zarr", slice="1/2")
print(f"{report.computed_blocks} of {report.blocks} blocks computed")
# !fastlin status stopped.zarr | head -2

# %% [markdown]
# To go on is to say the same again. What is complete is not computed a second time.

# %%
report = fl.run_sweep("scales.toml", "stopped.zarr")
print(f"{report.computed_blocks} of {report.blocks} blocks computed, {report.pending} points pending")
print("the same bytes:", fingerprint("stopped.zarr") == laptop)

# %% [markdown]
# ## A job array
#
# Slices are also how a cluster without Dask runs a sweep. Each job of an array computes its share of one
# store, and none waits for another:
#
# ```sh
# sbatch --array=1-100 --wrap 'fastlin run scales.toml --store scales.zarr --slice $SLURM_ARRAY_TASK_ID/100'
# ```
#
# The two jobs of an array of two, in the wrong order:

# %%
for job in (2, 1):
    fl.run_sweep("scales.toml", "array.zarr", slice=f"{job}/2")
print("the same bytes:", fingerprint("array.zarr") == laptop)

# %% [markdown]
# ## A Dask cluster
#
# `run_sweep` takes any `distributed.Client` whose workers see the path of the store: of a `SLURMCluster`, a
# Kubernetes cluster, or, as a stand-in here, two processes on this machine. Workers write their blocks
# themselves, so no data go through the client.

# %%
with (
    LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
    Client(cluster) as client,
):
    report = fl.run_sweep("scales.toml", "cluster.zarr", client=client)
print(f"{report.ok:,} points ok")
print("the same bytes:", fingerprint("cluster.zarr") == laptop)

# %% [markdown]
# From a shell: `fastlin run scales.toml --store cluster.zarr --scheduler tcp://...` for a scheduler that is
# there, or `--slurm --workers 100` for one that submits its own jobs. A store may be in a bucket, too:
# `--store s3://...`.
#
# ## More of everything
#
# The first results ask for more: here twice the seeds, and one more scale. Run the larger spec into the same
# store, and only what is new is computed. Old numbers cannot change, for every random draw is a function of
# its seed and its sizes, never of its place on the grid.

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
# ## Billions
#
# Of a billion networks one does not keep every number. With `[output.reduce]` the seeds are folded into
# statistics where they are computed. The size of the store then depends on the grid, and no longer on the
# number of seeds.

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
# The sums behind these statistics are exact, so that they are the same bits however the seeds are spread over
# workers. Against NumPy, over the points of the other store:

# %%
mean = statistics.kernel_distance.sel(statistic="mean")
print("largest difference below 1e-14:", float(abs(mean - ds.kernel_distance.mean("seed")).max()) < 1e-14)

# %% [markdown]
# A preset, `fastlin run phase-1g`, is the paper's Figure 2B over 1.4 million seeds. Its store is some 45 MB.

# %%
print(f"{fl.Spec.load('phase-1g').points:,} points")

# %% [markdown]
# ## Trust, and check
#
# Each chunk carries a checksum, and `fastlin verify` reads every byte. To see it work, we flip one bit of a
# file in the middle of the store.

# %%
chunk = sorted(Path("cluster.zarr/loss").rglob("c.*"))[3]
data = bytearray(chunk.read_bytes())
data[len(data) // 2] ^= 1
_ = chunk.write_bytes(data)
# !fastlin verify cluster.zarr

# %% [markdown]
# `fastlin repair` computes the damaged blocks again, and no others, to the same bits.

# %%
# !fastlin repair cluster.zarr 2> repair.log
print("the same bytes:", fingerprint("cluster.zarr") == laptop)

# %% [markdown]
# ## Where to go from here
#
# * `fastlin --help` has the other verbs, and every verb has `--json` for scripts.
# * `fastlin run ... --durable` syncs every file, so that not even a loss of power costs a complete block.
# * [A phase diagram from a store](phase-diagram.ipynb): what to do with the numbers.
# * [One network](one-network.ipynb): where they come from.
