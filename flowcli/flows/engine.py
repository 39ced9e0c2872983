"""A density on torch, for arrays: what a model computes with once torch is there."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from flowcli.chunks import CHUNK, CHUNK_ON_GPU, STEPWISE_CHUNK, WIDEST_STEPWISE
from flowcli.config.schema import FlowConfig
from flowcli.errors import ConfigError, ModelError
from flowcli.flows.build import assemble
from flowcli.flows.cuda_graph import GraphedInference, Tensors
from flowcli.flows.density import Density
from flowcli.flows.drawn import Drawn
from flowcli.flows.labels import LabelModel
from flowcli.flows.layout import Layout
from flowcli.flows.mixture import MixtureDensity
from flowcli.flows.rows import Rows
from flowcli.flows.size import Limited, TooLarge, facts_of
from flowcli.tensor_file import TensorFacts
from flowcli.transforms.autoregressive import Autoregressive
from flowcli.transforms.bijection import Bijection
from flowcli.transforms.networks import Conditioner

if TYPE_CHECKING:
    from flowcli.preprocess.encoder import Encoded

Floats = npt.NDArray[np.float64]


class TorchEngine:
    """A density in float64, with arrays in and arrays out, of one row or more."""

    def __init__(self, density: Density, device: torch.device) -> None:
        self.device = device
        self.density = density.to(device, torch.float64).eval()
        # How many rows are computed at once, and how many are drawn.
        on_gpu = device.type == "cuda"
        self.chunk = CHUNK_ON_GPU if on_gpu else CHUNK
        self.sampling_chunk = CHUNK_ON_GPU if on_gpu else STEPWISE_CHUNK if _is_stepwise(density) else CHUNK
        self._log_prob, self._encode, self._decode = map(
            self._of_tensors, (self.density.log_prob, self.density.encode, self.density.decode)
        )
        self._sample = self._on_gpu(self._drawn)
        # A graph's tensors are one call's at a time.
        self._lock = threading.Lock() if device.type == "cuda" else contextlib.nullcontext()

    @property
    def noise_features(self) -> int:
        """How many uniform numbers a sampled row is drawn from."""
        return self.density.noise_features

    @property
    def components(self) -> int:
        """Of a mixture, how many there are."""
        return self.density.components

    def rows(self, encoded: Encoded) -> Rows:
        """Encoded rows as the density takes them."""
        return Rows.of(encoded, self.device, torch.float64)

    def log_prob(self, rows: Encoded) -> Floats:
        """Log-density of each row, ``(n,)``, in nats."""
        return self._each(self._log_prob, rows)

    def encode(self, rows: Encoded) -> Floats:
        """The latents of the numbers, ``(n, d)``; NaN where a row has none."""
        return self._each(self._encode, rows)

    def decode(self, rows: Encoded) -> Floats:
        """The numbers whose latents stand in the place of the rows' numbers, ``(n, d)``."""
        return self._each(self._decode, rows)

    def _on_gpu(self, function: Callable[..., Tensors]) -> Callable[..., Tensors]:
        return GraphedInference(function) if self.device.type == "cuda" else function

    def _of_tensors(self, function: Callable[[Rows], Tensor]) -> Callable[..., Tensors]:
        return self._on_gpu(lambda *tensors: (function(Rows(*tensors)),))

    def _each(self, function: Callable[..., Tensors], rows: Encoded) -> Floats:
        with self._lock, torch.inference_mode():
            parts = [
                function(part.numbers, part.labels, part.ordinals, part.context)[0]
                for part in self.rows(rows).chunks(self.chunk)
            ]
            found: Floats = torch.cat(parts).cpu().numpy()
        return found

    def _drawn(
        self, uniforms: Tensor, context: Tensor, known: Rows | None = None, of_factors: Sequence[int] = ()
    ) -> Tensors:
        drawn = self.density.sample(uniforms, context, known, of_factors)
        return drawn.numbers, drawn.labels, drawn.ordinals

    def sample(
        self, uniforms: Floats, context: Floats, known: Encoded | None = None, of_factors: Sequence[int] = ()
    ) -> Drawn:
        """Rows from uniform numbers in [0, 1), ``(n, noise_features)``, given their context ``(n, c)``.

        Args:
            known: one row that the columns of these factors are taken from rather than drawn.
        """
        with self._lock, torch.inference_mode():
            noise, given = (torch.from_numpy(array).to(self.device) for array in (uniforms, context))
            if known is None:
                drawn = self._sample(noise, given)
            else:
                same = torch.zeros(len(uniforms), dtype=torch.long, device=self.device)
                drawn = self._drawn(noise, given, self.rows(known).take(same), of_factors)
        return Drawn(*(part.cpu().numpy() for part in drawn))


def _is_stepwise(density: Density) -> bool:
    """Whether rows are drawn column by column, by narrow networks and no others."""
    modules = list(density.modules())
    stepwise = [module for module in modules if isinstance(module, Autoregressive) and module.density]
    widths = [layer.out_features for module in stepwise for layer, _ in module.network.layers()]
    return (
        bool(stepwise)
        and max(widths, default=0) <= WIDEST_STEPWISE
        and not any(isinstance(module, Conditioner) for module in modules)
    )


def load_density(flow: FlowConfig, layout: Layout, tensors: Mapping[str, TensorFacts], file: Path) -> Density:
    """The density of a model file, of which the header has been read; ``tensors`` are its weights.

    Raises:
        ModelError: the file is damaged.
    """
    density = _untrained_density(flow, layout, tensors, file)
    try:
        weights = {name: weight for name, weight in load_file(file).items() if name in tensors}
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{file}: damaged: {str(error).strip().splitlines()[-1].strip()}") from None
    density.load_state_dict(weights)
    if not all(bool(torch.isfinite(weight).all()) for weight in weights.values()):
        raise ModelError(f"{file}: damaged: a weight is not a finite number")
    _check_buffers(density, file)
    return density


def _check_buffers(density: Density, file: Path) -> None:
    """Refuse what no training can have left in the buffers."""
    for module in density.modules():
        if isinstance(module, (Bijection, LabelModel, MixtureDensity)) and module.damage():
            raise ModelError(f"{file}: damaged: {module.damage()}")


def _untrained_density(flow: FlowConfig, layout: Layout, tensors: Mapping[str, TensorFacts], file: Path) -> Density:
    """The density that a header describes, before its weights are loaded.

    Raises:
        ModelError: its weights are not those that the file has. Those of a far larger one are not even made.
    """
    try:
        density = assemble(flow, layout, Limited.to(tensors.values()))
        if {name: facts_of(tensor) for name, tensor in density.state_dict().items()} != tensors:
            raise TooLarge
    except TooLarge:
        raise ModelError(f"{file}: damaged: its weights are not those that its config asks for") from None
    except ConfigError as error:
        raise ModelError(f"{file}: damaged: {error.problems[0]}") from None
    return density
