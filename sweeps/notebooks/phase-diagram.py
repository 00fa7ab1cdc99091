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
# When does a network learn features (*rich*), and when does it stay near its initial kernel (*lazy*)? The
# answer needs a sweep over thousands of networks. This notebook runs one, opens its store, and draws its
# phase diagrams. At the end it rebuilds the network of a single point.

# %%
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

import fastlin as fl

plt.rcParams.update(fl.plot.rc_params())  # the light theme of fastlin

_ = xr.set_options(display_style="text", display_expand_attrs=False)

# %% [markdown]
# ## A spec
#
# A sweep is the product of its axes. A spec defines them, as a dict (as here) or as a TOML file with the same
# content.
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
# `open_sweep` returns a lazy `xarray.Dataset`: it reads numbers only when they are used, so a store may be
# larger than memory. `status` is the result of each point, and the spec is in the attributes. (Plain
# `xr.open_zarr("bottlenecks.zarr", consolidated=False)` reads the store, too.)

# %%
ds = fl.open_sweep("bottlenecks.zarr")
ds

# %%
ds.kernel_distance.attrs

# %% [markdown]
# Common analyses are methods of `ds.fastlin`. `select` takes values, and an architecture by its name. A value
# that is not on the grid is an error that lists the nearest values.

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
# The kernel distance $S$ is 0 while the neural tangent kernel equals that of the start, and grows as the
# kernel turns. fastlin calls a network lazy below $S = 0.05$ (dashed line) and rich from 0.15 on (solid
# line). The argument `threshold` changes these values.

# %%
fig, axes = plt.subplots(1, 2, figsize=(8, 3.6), sharey=True, layout="constrained")
for ax, name in zip(axes, ("4-4-4", "4-2-4"), strict=True):
    part = ds.fastlin.select(architecture=name, init_scale=1.0)
    part.fastlin.phase_diagram(x="lam", y="time", ax=ax, vmin=0.0, vmax=0.5)
    ax.set_title(name)
axes[1].set_ylabel("")
fig.colorbar(axes[1].collections[0], ax=axes, label="kernel distance $S$")
plt.show()

# %% [markdown]
# The square network is rich only where its layers are nearly equal. It is lazier the more unequal they are,
# at all times. The bottleneck is slow there, but not lazy. Its two hidden units have to turn towards the
# modes that they keep. The time of this turn grows with $|\lambda|$, but the turn always happens in the end.
#
# The next figure shows the same over time: the mean over seeds, with a band of one standard deviation.

# %%
fig, axes = plt.subplots(1, 2, figsize=(8, 3.6), sharey=True, layout="constrained")
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
# Small weights are often called rich and large ones lazy. At $t/\tau = 10$ the plane of $\lambda$ and
# $\sigma$ shows more. The smaller $\sigma$ is, the smaller is the $|\lambda|$ that makes a square network
# lazy. One layer is then near a rotation of size $\sqrt{|\lambda|}$, and the other is near zero. The small
# layer learns the task alone, with a kernel that the large layer fixes. The kernel of very large weights
# changes, too, because most of their initial map has to be unlearned.

# %%
fig, axes = plt.subplots(1, 2, figsize=(8, 3.6), sharey=True, layout="constrained")
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
# Architectures can be drawn over their sizes, or over `bottleneck_ratio`, $N_h / \min(N_i, N_o)$. At the end
# of training the regime depends on whether there is a bottleneck.

# %%
end = ds.fastlin.select(init_scale=1.0, time=np.inf)
ax = end.fastlin.phase_diagram(x="lam", y="bottleneck_ratio")
ax.set_yticks(end.bottleneck_ratio)
ax.figure.set_size_inches(5.4, 3.4)
plt.show()

# %% [markdown]
# ## Numbers behind the pictures
#
# `regime` classifies every network. `mean_over_seeds` averages over seeds and adds standard errors. Both
# return xarray objects, for further analysis with xarray.

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
# At exactly $\lambda = 0$ about half of the square networks end at a saddle, because the sign of $\det(W_2
# W_1)$ is conserved. The mean there is over both kinds of networks.
#
# How long does training take? The observable `convergence_time` is the exact time of each network at which 99
# % of the loss that it can lose is gone. It needs no grid of times. With small weights ($\sigma = 0.1$),
# unequal layers make the square network fast and every bottleneck slow. (`ds.fastlin.passage_time()`
# estimates the time from stored losses, for stores without this observable.)

# %%
waiting = ds.fastlin.select(init_scale=0.1).convergence_time.median("seed")
fig, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
for line, name in zip(waiting, ("4-1-4", "4-2-4", "4-3-4", "4-4-4"), strict=True):
    ax.semilogy(ds.lam, line, label=name)
ax.set(xlabel=r"relative scale $\lambda$", ylabel=r"convergence time $t_{0.99}$, median")
ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
plt.show()

# %% [markdown]
# ## Back to a network
#
# Every stored number can be traced to its network. Any point can be rebuilt from its values alone, because
# the random streams are functions of these values. As an example, we take the network with two hidden units
# whose kernel distance at $t/\tau = 10$ is nearest to 0.2, between lazy and rich.

# %%
part = ds.fastlin.select(architecture="4-2-4", init_scale=0.1)
gap = abs(part.kernel_distance.sel(time=10.0) - 0.2).load()
point = {name: gap[name][index].item() for name, index in gap.argmin(["seed", "lam"]).items()}
task, net = fl.rebuild(part, **point)
print(point)
print(task)
print(net)

# %% [markdown]
# The closed form of this network gives the stored numbers again:

# %%
stored = part.sel(**point)
computed = fl.exact(task, net, times=ds.time)
for name in ("loss", "kernel_distance", "effective_rank"):
    same = np.allclose(computed[name], stored[name], rtol=1e-12, atol=1e-12)
    print(f"{name:16} at t = 10: {float(stored[name].sel(time=10.0)):.6f}   the same, to 1e-12: {same}")

# %% [markdown]
# The rebuilt network can be studied at more times. The loss falls in two steps. The first step, which ends at
# $t/\tau = 0.3$, is lazy: the small input weights learn as much as the fixed output weights allow, and the
# kernel stays. In the second step the output weights turn, and the kernel turns with them.

# %%
inside = fl.exact(task, net, times=np.geomspace(0.01, 1000.0, 200))
fig, axes = plt.subplots(1, 3, figsize=(8, 2.8), layout="constrained")
for ax, name in zip(axes, ("loss", "kernel_distance", "effective_rank"), strict=True):
    ax.semilogx(inside.time, inside[name])
    ax.axvline(10.0, color="0.6", linestyle="--", linewidth=1)
    ax.set(xlabel=r"time $t/\tau$", title=name.replace("_", " "))
plt.show()

# %% [markdown]
# $QQ^\top$ shows the same. $W_1^\top W_1$ is at the upper left. $W_2 W_2^\top$ is at the lower right, and it
# is large because $\lambda > 0$. It does not change until $t/\tau = 1$, and has turned by 30.

# %%
moments = fl.exact(task, net, times=[0.0, 1.0, 3.0, 10.0, 30.0, np.inf])
fl.plot.matrices(moments.qqt)
plt.show()

# %% [markdown]
# ## Where to go from here
#
# * `fastlin presets` lists the sweeps of the paper's figures. `fastlin run rich-lazy --store rich-lazy.zarr`
#   runs one of them.
# * `fastlin report bottlenecks.zarr` writes a web page about the store, in one file that you can mail.
# * [From laptop to cluster](laptop-to-cluster.ipynb) runs and grows a sweep on many machines.
# * [One network](one-network.ipynb) explains the observables on a single network.
