# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A phase diagram from a store
#
# When does a network learn features (*rich*), and when does it stay near its initial kernel (*lazy*)? One
# network does not answer that; a sweep over thousands does. This notebook runs one, opens its store, draws
# its phase diagrams, and goes back from one of its points to the network behind it.

# %%
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

import fastlin as fl

_ = xr.set_options(display_style="text", display_expand_attrs=False)

# %% [markdown]
# ## A spec
#
# A sweep is the product of its axes. A spec says what they are; as a dict here, or as a TOML file with the
# same content.
#
# | axis | meaning |
# |-|-|
# | `architecture` | sizes $N_i, N_h, N_o$; here from a bottleneck of one hidden unit to a square network |
# | `init_scale` | standard deviation $\sigma$ of the raw weights: how large the network starts |
# | `seed` | independent draws of task and weights, to average over |
# | `lam` | $\lambda$ in $W_2^\top W_2 - W_1 W_1^\top = \lambda I$: how unequal the layers are |
# | `times` | $t/\tau$ = learning rate times step, for each network; `inf` is the end of training |

# %%
spec = {
    "name": "bottlenecks",
    "axes": {
        "architecture": [[4, 1, 4], [4, 2, 4], [4, 3, 4], [4, 4, 4]],
        "init_scale": {"start": 0.1, "stop": 10.0, "num": 7, "spacing": "log"},
        "seed": {"start": 0, "num": 20},
        "lam": {"start": -9.0, "stop": 9.0, "num": 37},
    },
    "task": {"n_samples": 10, "target_scale": np.sqrt(3)},
    "dynamics": {"times": [0.0, *np.geomspace(0.01, 100.0, 17).round(3), np.inf]},
    "output": {"observables": ["loss", "kernel_distance", "effective_rank", "convergence_time"]},
}
report = fl.run_sweep(spec, "bottlenecks.zarr")
print(f"{report.ok:,} of {report.points:,} networks are ok")

# %% [markdown]
# ## Open it
#
# `open_sweep` returns an `xarray.Dataset`. It is lazy: nothing is read before it is looked at, so a store may
# be larger than memory. `status` says what became of each point, and the spec is in the attributes. (Plain
# `xr.open_zarr("bottlenecks.zarr", consolidated=False)` reads the store, too.)

# %%
ds = fl.open_sweep("bottlenecks.zarr")
ds

# %%
ds.kernel_distance.attrs

# %% [markdown]
# What one asks again and again is under `ds.fastlin`. It selects by values, and an architecture goes by its
# name. A value that is not on the grid is an error that names the nearest, never a silent neighbour.

# %%
square = ds.fastlin.select(architecture="4-4-4", init_scale=1.0)
dict(square.sizes)

# %%
try:
    ds.fastlin.select(lam=1.3)
except fl.InputError as error:
    print(error)

# %% [markdown]
# ## Rich and lazy, over $\lambda$ and time
#
# The kernel distance $S$ is 0 while the neural tangent kernel is that of the start, and grows as it turns.
# `fastlin` calls a network lazy below $S = 0.05$ (dashed line) and rich from 0.15 on (solid line);
# `threshold=` changes that.

# %%
fig, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
for ax, name in zip(axes, ("4-4-4", "4-2-4"), strict=True):
    part = ds.fastlin.select(architecture=name, init_scale=1.0)
    part.fastlin.phase_diagram(x="lam", y="time", ax=ax, vmin=0.0, vmax=0.5)
    ax.set_title(name)
axes[1].set_ylabel("")
fig.colorbar(axes[1].collections[0], ax=axes, label="kernel distance $S$")
plt.show()

# %% [markdown]
# The square network is rich only where its layers are nearly equal. The more unequal they are, the lazier it
# is, and no time changes that. The bottleneck is slow there but not lazy: its two hidden units have to turn
# towards the modes that they keep, the turn takes a time that grows with $|\lambda|$, and in the end it
# always comes.
#
# The same as lines over time, the mean over seeds and a band of one standard deviation:

# %%
fig, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True, layout="constrained")
for ax, name in zip(axes, ("4-4-4", "4-2-4"), strict=True):
    part = ds.fastlin.select(architecture=name, init_scale=1.0, lam=[0.0, 1.0, 3.0, 9.0])
    fl.plot.trajectories(part.kernel_distance, hue="lam", ax=ax)
    ax.set_title(name)
axes[0].get_legend().remove()
axes[1].set_ylabel("")
plt.show()

# %% [markdown]
# ## Over the scale of the weights
#
# Small weights are often called rich and large ones lazy. In this plane, at $t/\tau = 10$, it is more subtle.
# The smaller $\sigma$, the smaller the $|\lambda|$ that makes a square network lazy: then one layer is near a
# rotation of size $\sqrt{|\lambda|}$, the other near zero, and the task is learned by the small one alone,
# with a kernel that the large one fixes. Very large weights leave their start, too, for most of what they
# compute has to be unlearned.

# %%
fig, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
for ax, name in zip(axes, ("4-4-4", "4-2-4"), strict=True):
    part = ds.fastlin.select(architecture=name, time=10.0)
    part.fastlin.phase_diagram(x="lam", y="init_scale", ax=ax, vmin=0.0, vmax=0.5)
    ax.set_title(name)
axes[1].set_ylabel("")
fig.colorbar(axes[1].collections[0], ax=axes, label="kernel distance $S$")
plt.show()

# %% [markdown]
# ## Over the width of the bottleneck
#
# Architectures have an axis, too: of their sizes, or of `bottleneck_ratio`, $N_h / \min(N_i, N_o)$. Seen at
# the end of training, what decides between lazy and rich is whether there is a bottleneck at all.

# %%
end = ds.fastlin.select(init_scale=1.0, time=np.inf)
ax = end.fastlin.phase_diagram(x="lam", y="bottleneck_ratio")
ax.set_yticks(end.bottleneck_ratio)
ax.figure.set_size_inches(5.4, 3.4)
plt.show()

# %% [markdown]
# ## Numbers behind the pictures
#
# `regime` classifies every single network, `mean_over_seeds` averages and adds standard errors. Both are
# xarray objects, and everything that xarray can do goes on from there.

# %%
regimes = end.fastlin.regime()
print("share of networks at the end    " + "  ".join(regimes.flag_meanings.split()))
for name, group in zip(("4-1-4", "4-2-4", "4-3-4", "4-4-4"), regimes, strict=True):
    lazy, intermediate, rich = (float((group == flag).mean()) for flag in regimes.flag_values)
    print(f"{name:<30} {lazy:5.0%}  {intermediate:12.0%}  {rich:4.0%}")

# %%
means = end.fastlin.mean_over_seeds().fastlin.select(lam=[-9.0, 0.0, 9.0])
for name in ("kernel_distance", "kernel_distance_standard_error"):
    print(name)
    print(means[name].transpose("architecture", "lam").values.round(3))

# %% [markdown]
# At $\lambda = 0$ exactly, about half of the square networks end at a saddle, since the sign of $\det(W_2
# W_1)$ is conserved. The mean there is over both kinds.
#
# How long does training take? The observable `convergence_time` is exact for each network, without a grid of
# times: 99 % of the loss that it can lose is gone. With small weights ($\sigma = 0.1$), unequal layers make
# the square network fast and every bottleneck slow. (`ds.fastlin.passage_time()` reads it off the stored
# losses, for stores that do not hold it.)

# %%
waiting = ds.fastlin.select(init_scale=0.1).convergence_time.median("seed")
fig, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
ax.set_prop_cycle(color=plt.cm.cividis(np.linspace(0.0, 0.9, 4)))
for line, name in zip(waiting, ("4-1-4", "4-2-4", "4-3-4", "4-4-4"), strict=True):
    ax.semilogy(ds.lam, line, label=name)
ax.set(xlabel=r"relative scale $\lambda$", ylabel=r"convergence time $t_{0.99}$, median")
ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
plt.show()

# %% [markdown]
# ## Back to a network
#
# A number that cannot be traced should not be trusted. Any point can be built again from its values alone,
# for the random streams are functions of these. Let us take the network of two hidden units whose kernel
# distance at $t/\tau = 10$ is nearest to 0.2, on its way from lazy to rich.

# %%
here = ds.fastlin.select(architecture="4-2-4", init_scale=0.1)
gap = abs(here.kernel_distance.sel(time=10.0) - 0.2).load()
point = {name: gap[name][index].item() for name, index in gap.argmin(["seed", "lam"]).items()}
task, net = fl.rebuild(here, **point)
print(point)
print(task)
print(net)

# %% [markdown]
# The closed form of this network, evaluated anew, is what the store holds:

# %%
stored = here.sel(**point)
anew = fl.exact(task, net, times=ds.time)
for name in ("loss", "kernel_distance", "effective_rank"):
    same = np.allclose(anew[name], stored[name], rtol=1e-12, atol=1e-12)
    print(f"{name:16} at t = 10: {float(stored[name].sel(time=10.0)):.6f}   the same, to 1e-12: {same}")

# %% [markdown]
# And one may look inside. The loss falls in two steps. In the first, which is over by $t/\tau = 0.3$, the
# small input weights learn what they can with the output weights as they are: the kernel stays, this is the
# lazy part. In the second the output weights turn, and with them the kernel.

# %%
inside = fl.exact(task, net, times=np.geomspace(0.01, 1000.0, 200))
fig, axes = plt.subplots(1, 3, figsize=(10, 2.8), layout="constrained")
for ax, name in zip(axes, ("loss", "kernel_distance", "effective_rank"), strict=True):
    ax.semilogx(inside.time, inside[name])
    ax.axvline(10.0, color="0.6", linestyle="--", linewidth=1)
    ax.set(xlabel=r"time $t/\tau$", title=name.replace("_", " "))
plt.show()

# %% [markdown]
# $QQ^\top$ shows the same, with $W_1^\top W_1$ at the upper left and $W_2 W_2^\top$, which is large as
# $\lambda > 0$, at the lower right: until $t/\tau = 1$ it is that of the start, by 30 it has turned.

# %%
moments = fl.exact(task, net, times=[0.0, 1.0, 3.0, 10.0, 30.0, np.inf])
fl.plot.matrices(moments.qqt)
plt.show()

# %% [markdown]
# ## Where to go from here
#
# * `fastlin presets` lists the sweeps of the paper's figures; `fastlin run rich-lazy --store rich-lazy.zarr`
#   runs one.
# * `fastlin report bottlenecks.zarr` writes a page about a store that one can mail.
# * [From laptop to cluster](laptop-to-cluster.ipynb): the same sweep, a million times larger.
# * [One network](one-network.ipynb): what all these numbers are, from the start.
