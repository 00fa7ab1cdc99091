# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your own data: from a CSV file to a figure
#
# You have stimuli, responses, and the condition of each trial. How would a two-layer linear network learn to
# map one to the other: which distinctions come first, what do its hidden units represent on the way, and how
# much of it depends on the start? This notebook goes from a CSV file to a figure for a paper.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import fastlin as fl

np.set_printoptions(precision=3, suppress=True)
plt.rcParams.update(fl.plot.rc_params())  # the light theme of fastlin
rng = np.random.default_rng(1)

# %% [markdown]
# ## A file
#
# Eight things are shown 25 times each. A stimulus is the noisy activity of ten sensory channels, which
# resemble each other more the more two things have in common. A response scores eight properties of a thing
# from -1 to 1: that it lives, that it is an animal rather than a plant, a bird rather than a fish, a tree
# rather than a flower, and so on. The file has one row for each trial. If you have a file of your own, skip
# this cell.

# %%
things = ["robin", "canary", "salmon", "sunfish", "oak", "pine", "rose", "daisy"]
answers = ["lives", "animal", "bird", "tree", "red", "swims fast", "evergreen", "thorns"]
structure = fl.hierarchy(levels=3).Y  # properties in rows, things in columns
channels = rng.standard_normal((10, 8)) @ (
    np.array([2.0, 2.0, 1.2, 1.2, 0.8, 0.8, 0.8, 0.8])[:, None] * structure
)

item = np.repeat(np.arange(8), 25)
stimuli = channels[:, item] + 0.7 * rng.standard_normal((10, item.size))
responses = structure[:, item] + 0.2 * rng.standard_normal((8, item.size))
names = [f"channel {k}" for k in range(1, 11)] + answers
trials = pd.DataFrame(np.concatenate([stimuli, responses]).T.round(4), columns=names)
trials.insert(0, "thing", np.array(things)[item])
trials.to_csv("experiment.csv", index=False)
trials.iloc[::50, :6]

# %% [markdown]
# ## A task
#
# `fl.Task(x, y)` has samples in columns, so that tables of trials are transposed. The network has no bias, so
# `center=True` subtracts the means. `labels` names the condition of each sample.

# %%
table = pd.read_csv("experiment.csv")
x = table.filter(like="channel").to_numpy().T
y = table[answers].to_numpy().T
task = fl.Task(x, y, center=True, labels=table["thing"])
task

# %% [markdown]
# The dynamics depend on the data only through two correlations, $\Sigma_{yx} = Y X^\top / P$ and $\Sigma_{xx}
# = X X^\top / P$. The modes of the task are the singular vectors of $\Sigma_{yx}$. Its singular values are
# the strengths of the distinctions in the data. The last one is noise, because centring has removed what all
# things have in common. The loss floor is what no linear map reaches.

# %%
print("singular values:", np.linalg.svd(task.sigma_yx, compute_uv=False))
print("variances of the inputs:", np.linalg.eigvalsh(task.sigma_xx)[::-1])
print(f"loss floor: {task.loss_floor:.4f}")

# %% [markdown]
# ## As they are, or whitened
#
# The inputs are neither whitened nor a multiple of a projector, so that these data have no closed form.
# `fl.flow` integrates the gradient flow of any data to a tolerance. `task.whiten()` has a closed form, and it
# is another problem: large inputs no longer come first. Both are shown from the same start.

# %%
arch = fl.Architecture(n_i=10, n_h=16, n_o=8)
rich = fl.balanced_init(arch, lam=0.0, init_scale=0.02, seed=3)
white, times = task.whiten(), np.linspace(0.0, 40.0, 401)
names = ["loss", "mode_strengths", "alignment"]
raw_path = fl.flow(task, rich, times, observables=names)
white_path = fl.exact(white, rich, times, observables=names)
try:
    fl.exact(task, rich, times)
except fl.InputError as error:
    print(error)

# %%
fig, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
ax.plot(times, raw_path.loss, label="the data, by fl.flow")
ax.plot(times, white_path.loss, label="whitened, by fl.exact")
ax.axhline(task.loss_floor, color="0.6", linestyle="--", linewidth=1, zorder=0)
ax.set(xlabel=r"time $t/\tau$", ylabel=r"loss $\mathcal{L}$")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# Both end at the same floor, because whitening keeps what a linear map can reach.
#
# ## Which distinctions come first
#
# `mode_strengths` are the strengths of the task's modes in the network, $u_a^\top W_2 W_1 v_a$. From a small
# start with whitened inputs each mode follows a sigmoid of its own, which begins earlier the larger its
# singular value is (Saxe et al. 2014). For the data as they are the modes are coupled, and the order
# depends on the variances of the inputs, too.

# %%
fig, axes = plt.subplots(1, 2, figsize=(8, 3.2), sharex=True, layout="constrained")
for ax, path, title in zip(axes, (white_path, raw_path), ("whitened", "the data"), strict=True):
    ax.plot(times, path.mode_strengths)
    ax.set(title=title, xlabel=r"time $t/\tau$")
for level in np.linalg.svd(white.sigma_yx, compute_uv=False):
    axes[0].axhline(level, color="0.8", linewidth=0.8, zorder=0)
axes[0].set_ylabel("strength of the mode")
plt.show()

# %% [markdown]
# `alignment` tells whether the singular vectors of the network are those of the task: 1 for both sides of a
# mode that the network has learned as it is.

# %%
white_path.alignment.sel(time=[0, 4, 8, 40], method="nearest").sel(side="output").values.round(2)

# %% [markdown]
# ## Representations in the hidden layer
#
# Dissimilarities of conditions compare fastlin with recordings: `rdm_cosine` is one minus the cosine of the
# mean hidden activity in two conditions, and `rdm_correlation` the same about the mean over conditions. A
# rich network ($\lambda = 0$, small start) builds the tree of things, from the root to the leaves. A lazy one
# ($\lambda = -6$: large input weights) keeps the similarities of its whitened stimuli.

# %%
lazy = fl.balanced_init(arch, lam=-6.0, init_scale=0.02, seed=3)
moments = [0, 4, 8, 40]
fig, axes = plt.subplots(2, len(moments), figsize=(8, 6.4), layout="constrained")
for row, (name, net) in zip(axes, {"rich": rich, "lazy": lazy}.items(), strict=True):
    fl.plot.matrices(fl.exact(white, net, moments, observables=["rdm_correlation"]).rdm_correlation, row)
    for ax in row:
        ax.set_title(f"{name}, {ax.get_title()}", fontsize="medium")
plt.show()

# %% [markdown]
# ## A sweep over the data
#
# How much depends on the start? A sweep takes the data from files of numbers: `.npy`, `.npz`, CSV without a
# header, or Zarr arrays. (In Python `fl.run_sweep(spec, path, task=task)` takes a task, and a list of tasks
# makes an axis.) The store keeps the statistics of the data and their hash, so that it can be continued,
# verified and rebuilt on another machine without the files.

# %%
np.savetxt("stimuli.csv", x.T, delimiter=",")
np.savetxt("responses.csv", y.T, delimiter=",")
Path("own-data.toml").write_text(
    """
name = "own data"

[axes]
architecture = [10, 16, 8]
init_scale = { start = 0.01, stop = 1.0, num = 9, spacing = "log" }
seed = { start = 0, num = 20 }
lam = { start = -2.0, stop = 2.0, num = 21 }

[task]
kind = "data"
x = "stimuli.csv"
y = "responses.csv"
samples = "rows"
center = true
whiten = true

[dynamics]
times = [0.0, 1.0, 4.0, 10.0, 40.0, inf]

[output]
observables = ["loss", "kernel_distance", "convergence_time"]
"""
)
report = fl.run_sweep("own-data.toml", "own-data.zarr")
print(f"{report.ok:,} of {report.points:,} networks are ok")

# %% [markdown]
# A point of the sweep is the network that the functions above solve. `fl.rebuild` makes its task and its
# start again, from the store alone.

# %%
ds = fl.open_sweep("own-data.zarr")
Path("stimuli.csv").unlink()
own, net = fl.rebuild(ds, seed=7, lam=-2.0, init_scale=1.0)
stored = ds.fastlin.select(seed=7, lam=-2.0, init_scale=1.0, time=10.0)
print(own)
print(np.allclose(fl.exact(own, net, [10.0], ["loss"]).loss, stored.loss, rtol=1e-9))

# %% [markdown]
# ## The figure
#
# The left panel is the plane of starts at the end of training: where the kernel has turned and the network
# has learned features of these data (rich), and where it has not (lazy). The right panel shows the price of
# rich learning: the time to 99 % of the loss that can be lost.

# %%
fig, axes = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
ds.fastlin.select(time=np.inf).fastlin.phase_diagram(x="lam", y="init_scale", ax=axes[0], vmin=0.0, vmax=0.3)
fig.colorbar(axes[0].collections[0], ax=axes[0], label="kernel distance $S$")
for scale, part in ds.convergence_time.median("seed").groupby("init_scale"):
    if scale in (0.01, 0.1, 1.0):
        axes[1].semilogy(part.lam, part.squeeze(), label=rf"$\sigma = {scale:g}$")
axes[1].set(xlabel=r"$\lambda$", ylabel=r"convergence time $t_f/\tau$")
axes[1].legend(frameon=False)
fig.savefig("own-data.pdf")
print(Path("own-data.pdf").read_bytes()[:4])

# %% [markdown]
# ## Where to go from here
#
# * Leave out `whiten`: a sweep over the data as they are is solved by the flow, and `fastlin plan` says so.
# * `fl.reversed(task)` and `fl.similar(task, 0.3)` are next tasks of a sequence, for reversal and transfer.
# * `[init] balance = false` with `kind = "lecun"` starts from standard weights instead of balanced ones.
# * [Which networks are exact](which-networks-are-exact.ipynb) shows which solver takes which start.
