"""The same flow in FlowJAX and pzflow, which compile through JAX, for speed.py."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from architecture import BINS, BOUND, LEARNING_RATE, NOISE, Architecture, Call
from torch import Tensor

THREADS = int(os.environ.get("OMP_NUM_THREADS", "1"))
os.environ.setdefault("JAX_PLATFORMS", "cpu")
if THREADS == 1:
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false"

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import optax  # noqa: E402


def start_with(threads: int) -> None:
    """Let JAX make its threads while it sees so many cores; they may run on any core afterwards."""
    if not hasattr(os, "sched_getaffinity"):
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(cores)[:threads])
    jax.devices()
    for thread in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(thread.name), cores)


start_with(THREADS)


class JaxModel:
    """A flow as a tree of parameters, and functions of it that are compiled at their first call."""

    def __init__(
        self,
        parameters: Any,
        log_prob: Callable[[Any, Any], Any],
        sample: Callable[[Any, int], Any],
        step: Callable[[Any, Any, Any], tuple[Any, Any]],
        optimizer: optax.GradientTransformation,
        notes: list[str],
    ) -> None:
        """``step``: parameters and the optimiser's state after a batch, from those before."""
        self._state = parameters
        self._log_prob, self._sample, self._step, self._optimizer = log_prob, sample, step, optimizer
        self.notes = notes

    @property
    def parameters(self) -> int:
        return sum(leaf.size for leaf in leaves(self._state))

    def training_step(self, rows: Tensor, size: int) -> Call:
        batches = endless(rows, size)
        state = self._optimizer.init(self._state)

        def step() -> None:
            nonlocal state
            self._state, state = self._step(self._state, state, next(batches))
            jax.block_until_ready(self._state)

        return step

    def scoring(self, rows: Tensor, size: int) -> Call:
        chunks = endless(rows, size)
        return lambda: self._log_prob(self._state, next(chunks)).block_until_ready()

    def sampling(self, size: int) -> Call:
        return lambda: jax.block_until_ready(self._sample(self._state, size))

    def error(self, rows: Tensor) -> float:
        got = np.asarray(self._log_prob(self._state, jnp.asarray(rows.numpy())))
        with jax.enable_x64(True):
            exact = jax.tree.map(lambda leaf: leaf.astype(jnp.float64) if is_weight(leaf) else leaf, self._state)
            expected = np.asarray(self._log_prob(exact, jnp.asarray(rows.double().numpy())))
        return float((np.abs(got - expected) / np.maximum(np.abs(expected), 1)).max())


def is_weight(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jnp.floating)


def leaves(tree: Any) -> list[Any]:
    return [leaf for leaf in jax.tree.leaves(tree) if is_weight(leaf)]


def endless(rows: Tensor, size: int) -> Iterator[Any]:
    """Slices of the rows, over and over, that JAX has already."""
    slices = [jnp.asarray(rows[start : start + size].numpy()) for start in range(0, len(rows), size)]
    while True:
        yield from slices


def perturbed(tree: Any, seed: int, stacked: int) -> Any:
    """Weights moved as those of the other libraries are; the first ``stacked`` dimensions count the layers."""
    generator = np.random.default_rng(seed)

    def moved(leaf: Any) -> Any:
        if not is_weight(leaf):
            return leaf
        inputs = leaf.shape[-1] if leaf.ndim - stacked > 1 else 16
        return leaf + jnp.asarray(NOISE / inputs**0.5 * generator.normal(size=leaf.shape), leaf.dtype)

    return jax.tree.map(moved, tree)


def flowjax(architecture: Architecture, seed: int) -> JaxModel:
    import equinox as eqx
    import paramax
    from flowjax.bijections import RationalQuadraticSpline
    from flowjax.distributions import StandardNormal
    from flowjax.flows import coupling_flow, masked_autoregressive_flow
    from flowjax.train.losses import MaximumLikelihoodLoss
    from flowjax.train.train_utils import step as its_step

    make = coupling_flow if architecture.coupling else masked_autoregressive_flow
    notes = []
    chosen = {}
    if architecture.spline:
        # So many inner knots make BINS bins.
        chosen["transformer"] = RationalQuadraticSpline(knots=BINS - 1, interval=BOUND)
        notes.append("FlowJAX's splines have a slope of their own at either end: 25 outputs a column instead of 23")
    flow = make(
        jax.random.key(seed),
        base_dist=StandardNormal((architecture.features,)),
        flow_layers=architecture.layers,
        nn_width=architecture.width,
        nn_depth=len(architecture.hidden),
        **chosen,
    )
    if architecture.coupling and architecture.features % 2:
        notes.append("FlowJAX and pzflow keep the smaller half of an odd number of columns in every layer")
    weights, rest = eqx.partition(
        flow, eqx.is_inexact_array, is_leaf=lambda leaf: isinstance(leaf, paramax.NonTrainable)
    )
    optimizer = optax.adam(LEARNING_RATE)
    loss = MaximumLikelihoodLoss()
    keys = iter(lambda: jax.random.key(next(numbers)), None)
    numbers = iter(range(1, 2**31))
    log_prob = eqx.filter_jit(lambda weights, x: eqx.combine(weights, rest).log_prob(x))
    sample = eqx.filter_jit(lambda weights, key, n: eqx.combine(weights, rest).sample(key, (n,)))

    def step(weights: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        weights, state, _ = its_step(weights, rest, batch, optimizer=optimizer, opt_state=state, loss_fn=loss)
        return weights, state

    return JaxModel(
        perturbed(weights, seed, stacked=1),
        log_prob,
        lambda weights, n: sample(weights, next(keys), n),
        step,
        optimizer,
        notes,
    )


def pzflow(architecture: Architecture, seed: int) -> JaxModel | None:
    if not architecture.coupling:
        return None
    from pzflow import Flow
    from pzflow.bijectors import RollingSplineCoupling
    from pzflow.distributions import Normal

    features = architecture.features
    couplings = RollingSplineCoupling(
        architecture.layers, K=BINS, B=BOUND, hidden_layers=len(architecture.hidden), hidden_dim=architecture.width
    )
    flow = Flow([f"x{column}" for column in range(features)], couplings, Normal(features), seed=seed)
    optimizer = optax.adam(LEARNING_RATE)

    def log_prob(parameters: Any, x: Any) -> Any:
        # Without conditions its rows have one that is 0.
        return flow._log_prob(parameters, x, jnp.zeros((len(x), 1)))

    def loss(parameters: Any, x: Any, weights: Any) -> Any:
        return -jnp.mean(weights * log_prob(parameters, x))

    @jax.jit
    def step(parameters: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        gradients = jax.grad(loss)(parameters, batch, jnp.ones(len(batch)))
        updates, state = optimizer.update(gradients, state, parameters)
        return optax.apply_updates(parameters, updates), state

    return JaxModel(
        perturbed(flow._params, seed, stacked=0),
        jax.jit(log_prob),
        lambda parameters, n: flow._inverse_jitted(
            parameters[1], flow.latent.sample((), n), conditions=jnp.zeros((n, 1))
        )[0],
        step,
        optimizer,
        [],
    )


LIBRARIES: dict[str, Callable[[Architecture, int], JaxModel | None]] = {"FlowJAX": flowjax, "pzflow": pzflow}


def build(library: str, architecture: Architecture, seed: int) -> JaxModel | None:
    return LIBRARIES[library](architecture, seed)
