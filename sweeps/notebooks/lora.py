# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # LoRA
#
# Low-rank adaptation (LoRA, Hu et al. 2022) freezes a pre-trained map $W_0$ and trains an update of low rank:
#
# $$y = (W_0 + c\, B A)\, x, \qquad A \in \mathbb{R}^{r \times N_i},\ B \in \mathbb{R}^{N_o \times r},
# \qquad B = 0 \text{ at the start.}$$
#
# The adapter $(A, B)$ is a two-layer linear network. Its target is what $W_0$ lacks, $\Sigma_{yx} - W_0$. If
# the rows of $A$ are orthogonal and equally long, $A A^\top = a^2 I$, the adapter is balanced, and its whole
# training is in closed form. `fl.lora` makes this substitution. Results come back in your own variables: the
# loss is that of $W_0 + c B A$.

# %%
import matplotlib.pyplot as plt
import numpy as np

import fastlin as fl

np.set_printoptions(precision=3, suppress=True)
plt.rcParams.update(fl.plot.rc_params())  # the light theme of fastlin

# %% [markdown]
# ## Pre-training
#
# A network of 8 inputs and outputs learns a first task to the end. The second task has the same inputs, and
# targets at an angle of cosine 0.5 to those of the first one.

# %%
arch = fl.Architecture(8, 8, 8)
first = fl.random_regression(arch, n_samples=20, target_scale=np.sqrt(3), seed=3)
second = fl.similar(first, 0.5, seed=3)
start = fl.balanced_init(arch, lam=0.5, init_scale=0.1, seed=3)
w0 = fl.exact(first, start, [np.inf], ["w2w1"]).w2w1.values[0]
print("what W0 lacks, singular values:", np.linalg.svd(second.sigma_yx - w0, compute_uv=False))

# %% [markdown]
# ## An adapter of rank 2
#
# `fl.lora` returns a task and a network. `net.w1` is $A$ and `net.w2` is $B$. The factor is $c = \alpha / r$.

# %%
task, net = fl.lora(second, w0, rank=2, alpha=4.0)
print(net)
print(f"c = {task.gain:g}")
times = np.append(0.0, np.geomspace(0.01, 1000.0, 161))
observables = ["loss", "w2w1", "kernel_distance", "adapter_norm", "adapter_alignment", "recovered_rank"]
tuned = fl.exact(task, net, times, observables)
print("the map starts at W0:", np.allclose(tuned.w2w1[0], w0))
print("recovered rank at the end:", tuned.recovered_rank.values[-1])

# %% [markdown]
# Gradient descent on $A$ and $B$ follows the closed form. Its learning rate multiplies the rates of the
# adapter, which are 1 here.

# %%
steps = fl.gradient_descent(task, net, 0.01, 10_000, every=100, observables=["loss"])
exact = fl.exact(task, net, steps.time, ["loss"])
print(f"largest difference of the loss: {float(abs(steps - exact).loss.max()):.1e} of {exact.loss[0]:.2f}")

# %% [markdown]
# ## Loss and rank
#
# After convergence the adapter holds the top $r$ singular directions of $\Sigma_{yx} - W_0$, whatever its
# start is. This is the truncation of Eckart and Young, which bounds what an adapter can express (Zeng and Lee
# 2024).

# %%
ranks = np.arange(1, 9)
ends = [
    float(fl.exact(*fl.lora(second, w0, int(rank), alpha=4.0), [np.inf], ["loss"]).loss[0]) for rank in ranks
]
values = np.linalg.svd(second.sigma_yx - w0, compute_uv=False)
least = [second.loss_floor + 0.5 * np.sum(values[rank:] ** 2) for rank in ranks]

fig, ax = plt.subplots(figsize=(5, 3.2), layout="constrained")
ax.plot(ranks, ends, "o", label=r"$t = \infty$, closed form")
ax.plot(ranks, least, "k--", label=r"floor $+ \frac{1}{2} \sum_{a > r} s_a^2$")
ax.set(xlabel="rank $r$", ylabel=r"loss $\mathcal{L}$")
ax.legend(frameon=False)
plt.show()
print(f"largest difference: {np.abs(np.subtract(ends, least)).max():.0e}")

# %% [markdown]
# ## Rich and lazy fine-tuning
#
# In the units of the update, the relative scale of the adapter is $\lambda = -c\,a^2$ (for equal learning
# rates). A small $c\,a^2$ is rich: $A$ turns towards the top directions of $\Sigma_{yx} - W_0$ while $B$
# grows, and modes are learned one after the other. With a large $c\,a^2$ the adapter first fits all that the
# rows of $A$ can reach as they are, and turns late. The documentation (Mathematics, LoRA) has
# $\lambda_U = -c^2 \eta_B a^2$, which is this number times the speed $c \sqrt{\eta_A \eta_B}$ of the adapter.
# The attribute `lam` is that of $A$ and $B$ themselves, $-a^2$, and knows neither $c$ nor the rates.
#
# `adapter_alignment` is the overlap of the rows of $A$ ("input") and of the columns of $B$ ("output") with
# the top $r$ singular directions, and `recovered_rank` counts the directions that are learned.

# %%
fig, axes = plt.subplots(1, 3, figsize=(8, 3.0), layout="constrained")
for alpha, colour in ((0.02, "C0"), (2.0, "C1"), (200.0, "C2")):
    ds = fl.exact(
        *fl.lora(second, w0, 2, alpha=alpha), np.append(0.0, np.geomspace(1e-4, 1e5, 241)), observables
    )
    label = rf"$c\,a^2 = {alpha / 2:g}$"
    axes[0].semilogx(ds.time[1:], ds.loss[1:], colour, label=label)
    axes[1].semilogx(ds.time[1:], ds.adapter_alignment.sel(side="input")[1:], colour)
    axes[2].semilogx(ds.time[1:], ds.recovered_rank[1:], colour)
axes[0].axhline(least[1], color="k", linestyle="--", linewidth=1)
for ax, title in zip(axes, ("loss", "alignment of the rows of $A$", "recovered rank"), strict=True):
    ax.set(title=title, xlabel=r"time $t/\tau$")
axes[0].legend(frameon=False)
plt.show()

# %% [markdown]
# **A larger $\alpha$ makes the first part of the training faster, and not the second.** An adapter of low
# rank has to turn, and the time of that does not depend on $\alpha$ once it is large. Only an adapter of full
# rank can be lazy.
#
# ## Where to start: spectral adapters
#
# With `init="spectral"` the rows of $A$ are the top right singular vectors of the gradient at $W_0$, as in
# LoRA-GA (Wang et al. 2024). They need not turn. A Gaussian $A$, the usual start, has no balance, and
# `fl.flow` integrates it.

# %%
late = np.append(0.0, np.geomspace(0.01, 300.0, 121))
fig, ax = plt.subplots(figsize=(5, 3.2), layout="constrained")
for init, solver in (("orthonormal", fl.exact), ("spectral", fl.exact), ("gaussian", fl.flow)):
    ds = solver(*fl.lora(second, w0, 2, alpha=4.0, init=init, seed=1), late, observables=["loss"])
    ax.semilogx(ds.time[1:], ds.loss[1:], label=f"{init}, by {ds.attrs['solver']}")
ax.axhline(least[1], color="k", linestyle="--", linewidth=1)
ax.set(xlabel=r"time $t/\tau$", ylabel=r"loss $\mathcal{L}$")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# ## LoRA+
#
# LoRA+ (Hayou et al. 2024) gives $B$ the larger learning rate. The pair belongs to the task, so that no
# solver can be given another one by mistake. At an equal product of both rates, their ratio acts on
# $\lambda = -\sqrt{\eta_B / \eta_A}\, c\, a^2$ alone, like a larger $A$: $B$ learns faster, and $A$ turns
# slower.

# %%
for ratio in (1.0, 4.0, 16.0):
    pair = fl.lora(second, w0, 2, alpha=4.0, learning_rates=(ratio**-0.5, ratio**0.5))
    ds = fl.exact(*pair, [0.3, 3.0, 30.0], ["loss"])
    print(f"eta_B / eta_A = {ratio:4g}   loss at 0.3, 3, 30:", ds.loss.values)

# %% [markdown]
# ## A sweep
#
# `[init] kind = "lora"` makes a sweep over adapters. Rank, alpha, scaling, adapter and similarity may be
# lists. `axes.init_scale` is the scale $a$ of $A$, and `axes.rate_ratio` is $\eta_B / \eta_A$. The frozen map
# of each seed was trained to the end on a target with the given similarity, so lam is no axis. Here the
# factor $\alpha / \sqrt{r}$ of rsLoRA (Kalajdzievski 2023) is compared with $\alpha / r$.

# %%
spec = {
    "name": "rank and scaling",
    "axes": {"architecture": "8-8-8", "seed": {"start": 0, "num": 10}},
    "task": {"n_samples": 20, "target_scale": np.sqrt(3)},
    "init": {
        "kind": "lora",
        "rank": [1, 2, 4, 8],
        "alpha": [0.25, 1.0, 4.0],
        "scaling": ["alpha/r", "alpha/sqrt(r)"],
        "similarity": 0.5,
    },
    "dynamics": {"times": [0.0, 10.0, np.inf]},
    "output": {"observables": ["loss", "recovered_rank", "kernel_distance"]},
}
fl.run_sweep(spec, "lora.zarr", progress=False)
sweep = fl.open_sweep("lora.zarr").squeeze()
mean = sweep.loss.sel(time=10.0, init_alpha=1.0).mean("seed")
for scaling in sweep.init_scaling.values:
    print(f"loss at t = 10, rank 1, 2, 4, 8, {scaling:14}", mean.sel(init_scaling=scaling).values)

# %% [markdown]
# With $\alpha / r$ an adapter of higher rank learns slower, because its factor falls. With
# $\alpha / \sqrt{r}$ a higher rank is better at every time.
#
# `fl.rebuild` returns the task and the adapter of any point of a sweep.

# %%
task, net = fl.rebuild(
    fl.open_sweep("lora.zarr"), seed=4, init_rank=2, init_alpha=1.0, init_scaling="alpha/r"
)
again = float(fl.exact(task, net, [10.0], ["loss"]).loss[0])
stored = float(sweep.loss.sel(seed=4, init_rank=2, init_alpha=1.0, init_scaling="alpha/r", time=10.0))
print(net)
print(f"loss at t = 10: {stored:.12f} stored, {again:.12f} again")

# %% [markdown]
# ## Where to go from here
#
# * `fastlin figure lora` draws the loss over the rank, the time to converge over $\alpha$ and rank, and rich
#   and lazy fine-tuning, from the preset `lora`.
# * Any pre-trained map will do: `fl.lora(task, w0, ...)` takes a matrix, or a `fl.Network`.
# * [Your own data](your-own-data.ipynb) starts from a CSV file.
