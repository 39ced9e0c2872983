"""The trained model in the user's terms."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from flowcli.errors import ConfigError, DataError, FlowcliError, ModelError, UsageError
from flowcli.flows.build import assemble
from flowcli.flows.density import TableDensity
from flowcli.flows.labels import LabelModel
from flowcli.flows.rows import Rows
from flowcli.flows.size import Limited, TooLarge, facts_of
from flowcli.model_file import ModelHeader, read_model_file
from flowcli.preprocess.encoder import Encoded, TableEncoder
from flowcli.runs import resolve_model
from flowcli.tables.table import Origin, Table, from_dataframe
from flowcli.tensor_file import TensorFacts, sealed
from flowcli.training.devices import resolve_device
from flowcli.transforms.bijection import Bijection
from flowcli.transforms.supports import PLACEHOLDER

if TYPE_CHECKING:
    import pandas as pd

SCORING_CHUNK = 8192
SAMPLING_CHUNK = 4096


@dataclass(frozen=True)
class Scores:
    """Log-likelihoods of rows in nats ``(n,)``, NaN where a row could not be scored, and unseen labels."""

    log_prob: npt.NDArray[np.float64]
    unseen_label: npt.NDArray[np.bool_]


class Model:
    """A density over rows of a table, in the data's own units.

    Weights are trained in float32; scores, latents and samples are computed in float64, so that they do
    not depend on how rows are batched (with ``ffjord``, to the tolerance of its solver).
    """

    def __init__(self, header: ModelHeader, density: TableDensity, device: torch.device) -> None:
        self.header = header
        self.encoder = TableEncoder(header.columns)
        self.device = device
        self.density = density.to(device, torch.float64).eval()

    @classmethod
    def load(cls, path: str | Path | None = None, device: str = "auto") -> Model:
        """Load a run folder or a model file; by default ``$FLOWCLI_MODEL``, else the newest run.

        Raises:
            UsageError: there is no such model.
            ModelError: the file is damaged or is not a model of flowcli.
        """
        place = resolve_device(device)
        file = resolve_model(path)
        header, tensors = read_model_file(file)
        density = _untrained_density(header, tensors, file)
        try:
            weights = load_file(file)
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{file}: damaged: {str(error).strip().splitlines()[-1].strip()}") from None
        density.load_state_dict(weights)
        if not all(bool(torch.isfinite(weight).all()) for weight in weights.values()):
            raise ModelError(f"{file}: damaged: a weight is not a finite number")
        _check_buffers(density, file)
        return cls(header, density, place)

    def to_bytes(self) -> bytes:
        """The model file's contents."""
        weights = {
            name: weight.float() if weight.is_floating_point() else weight
            for name, weight in self.density.state_dict().items()
        }
        tensors = {name: weight.cpu().contiguous() for name, weight in weights.items()}
        return sealed(save(tensors, metadata=self.header.to_metadata()))

    def score(self, table: Table | pd.DataFrame, on_bad_row: str = "error") -> Scores:
        """Like :meth:`log_prob`, and which rows have a label that training had not."""
        table = _as_table(table)
        encoded = self._encoded(table, on_bad_row)
        log_prob = self.score_encoded(encoded)
        log_prob[list(encoded.bad)] = np.nan
        broken = np.setdiff1d(np.flatnonzero(np.isnan(log_prob)), list(encoded.bad))
        if len(broken):
            raise ModelError(f"{table.locate(int(broken[0]))}: the model's arithmetic fails on this row")
        return Scores(log_prob, (encoded.labels < 0).any(axis=1) & ~np.isnan(log_prob))

    def score_encoded(self, encoded: Encoded) -> npt.NDArray[np.float64]:
        """Log-likelihoods ``(n,)`` of rows that the model's encoder has encoded."""
        log_prob = np.empty(len(encoded.numbers))
        for start in range(0, len(log_prob), SCORING_CHUNK):
            rows = slice(start, start + SCORING_CHUNK)
            part = encoded.take(rows)
            # What is outside its bounds has no place on the real line.
            held = replace(part, numbers=np.where(part.outside[:, None], PLACEHOLDER, part.numbers))
            with torch.inference_mode():
                log_prob[rows] = self.density.log_prob(self._rows(held)).cpu().numpy()
            log_prob[rows][part.outside] = -np.inf
        return log_prob

    def log_prob(self, table: Table | pd.DataFrame, on_bad_row: str = "error") -> npt.NDArray[np.float64]:
        """Log-likelihood of each row in nats, ``(n,)``, given its context columns.

        A row with a label that training had not has probability zero: ``-inf``.

        Args:
            on_bad_row: what to do with a row that cannot be scored: ``error``, or ``empty`` for NaN.

        Raises:
            DataError: columns are missing, or a row cannot be scored; the message names it.
        """
        return self.score(table, on_bad_row).log_prob

    def encode(self, table: Table | pd.DataFrame) -> pa.Table:
        """Latents ``z1..zd``, then label, ordinal and context columns as they are, and the states of partial ones.

        Raises:
            DataError: columns are missing, or a row cannot be encoded.
        """
        table = _as_table(table)
        encoded = self._encoded(table, "error")
        self._refuse_unseen(encoded, table)
        if encoded.outside.any():
            raise DataError(f"{table.locate(int(encoded.outside.argmax()))}: a number is beyond its column's bounds")
        with torch.inference_mode():
            parts = [self.density.encode(part) for part in self._rows(encoded).chunks(SCORING_CHUNK)]
        latent = torch.cat(parts).cpu().numpy() if parts else encoded.numbers
        return self.encoder.latent_cells(latent, encoded.labels, table)

    def decode(self, table: Table | pd.DataFrame) -> pa.Table:
        """Rows in the data's columns from rows of :meth:`encode`.

        Raises:
            DataError: columns are missing, or a row cannot be decoded.
        """
        table = _as_table(table)
        encoded = self.encoder.encode_latent(table)
        _refuse_bad(encoded, table)
        self._refuse_unseen(encoded, table)
        with torch.inference_mode():
            parts = [self.density.decode(part) for part in self._rows(encoded).chunks(SCORING_CHUNK)]
        numbers = torch.cat(parts).cpu().numpy() if parts else encoded.numbers
        broken = np.flatnonzero(~np.isfinite(numbers).all(axis=1))
        if len(broken):
            raise DataError(f"{table.locate(int(broken[0]))}: no row of the model has these latents")
        return self.encoder.decode(numbers, encoded.labels, encoded.ordinals, table.cells, rounded=False)

    def sample(self, n: int, given: Table | pd.DataFrame | None = None, seed: int | None = None) -> pd.DataFrame:
        """Draw ``n`` rows, or ``n`` for each row of ``given``; see :meth:`sample_chunks`."""
        frame: pd.DataFrame = pa.concat_tables(self.sample_chunks(n, given, seed)).to_pandas()
        return frame

    def sample_chunks(
        self,
        n: int,
        given: Table | pd.DataFrame | None = None,
        seed: int | None = None,
        set_to: Mapping[str, str] | None = None,
    ) -> Iterator[pa.Table]:
        """Draw ``n`` rows, or ``n`` for each row of ``given``, a chunk at a time.

        The first rows of a longer sample with the same seed are those of a shorter one.

        Args:
            given: the context columns; needed when the model has any.
            seed: ``None`` takes a fresh one.
            set_to: values of modelled columns that are :func:`flowcli.conditioning.settable`.

        Raises:
            UsageError: the model has context columns and ``given`` is missing or lacks one.
            DataError: a given value does not fit its column.
        """
        context, cells = self._given(given)
        known, of_factors = self._known(set_to or {})
        generator = torch.Generator()
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(seed)
        rows = n * len(context)
        for start in range(0, max(rows, 1), SAMPLING_CHUNK):
            size = min(SAMPLING_CHUNK, rows - start)
            # Noise for a whole chunk, whatever its size, keeps shorter samples the start of longer ones.
            uniforms = torch.rand(SAMPLING_CHUNK, self.density.noise_features, generator=generator, dtype=torch.float64)
            which = np.arange(start, start + size) // max(n, 1)
            given_context = torch.from_numpy(context[which]).to(self.device)
            same = known and known.take(torch.zeros(size, dtype=torch.long, device=self.device))
            with torch.inference_mode():
                drawn = self.density.sample(uniforms[:size].to(self.device), given_context, same, of_factors)
            yield self._decoded(drawn, cells and cells.take(which))

    def _known(self, set_to: Mapping[str, str]) -> tuple[Rows | None, list[int]]:
        """One row of the columns that are set, and the factors that these are."""
        if not set_to:
            return None, []
        layout = self.encoder.layout
        needed = {*layout.modelled, *(name for name, _ in layout.context)}
        cells = pa.table({name: pa.array([set_to.get(name)], pa.string()) for name in needed})
        row = self.encoder.encode(Table(cells, (Origin("the values given", 1, 1),)))
        positions = (
            {at for at, name in enumerate(names) if name in set_to}
            for names in (layout.numbers, [n for n, _ in layout.labels], [n for n, _ in layout.ordinals])
        )
        return Rows.of(row, self.device, torch.float64), self.density.factors_of(*positions)

    def _decoded(self, rows: Rows, cells: pa.Table | None) -> pa.Table:
        numbers, labels, ordinals = (part.cpu().numpy() for part in (rows.numbers, rows.labels, rows.ordinals))
        return self.encoder.decode(numbers, labels, ordinals, cells, rounded=True)

    def _given(self, given: Table | pd.DataFrame | None) -> tuple[npt.NDArray[np.float64], pa.Table | None]:
        """The encoded context ``(m, c)`` and its cells; one empty row when the model has no context."""
        names = [column.name for column in self.encoder.context]
        if given is None:
            if names:
                raise UsageError(f"the model is conditional: give a value for {', '.join(names)}")
            return np.empty((1, 0)), None
        table = _as_table(given)
        missing = [name for name in names if name not in table.names]
        if missing:
            raise UsageError(f"the model is conditional: give a value for {', '.join(missing)} too")
        encoded = self.encoder.encode_context(table)
        _refuse_bad(encoded, table)
        return encoded.context, table.cells.select(names)

    def _encoded(self, table: Table, on_bad_row: str) -> Encoded:
        encoded = self.encoder.encode(table)
        if on_bad_row == "error":
            _refuse_bad(encoded, table)
        return encoded

    def _refuse_unseen(self, encoded: Encoded, table: Table) -> None:
        """Refuse rows whose label training had not: nothing is known of their numbers."""
        rows, positions = np.nonzero(encoded.labels < 0)
        if len(rows):
            name = self.encoder.labels[positions[0]].name
            value = table.column(name)[int(rows[0])].as_py()
            raise DataError(f"{table.locate(int(rows[0]))}, column {name!r}: {value!r} was not among the training rows")

    def _rows(self, encoded: Encoded) -> Rows:
        return Rows.of(encoded, self.device, torch.float64)


def _check_buffers(density: TableDensity, file: Path) -> None:
    """Refuse what no training can have left in the buffers."""
    for module in density.modules():
        if isinstance(module, (Bijection, LabelModel)) and module.damage():
            raise ModelError(f"{file}: damaged: {module.damage()}")


def _untrained_density(header: ModelHeader, tensors: Mapping[str, TensorFacts], file: Path) -> TableDensity:
    """The density that a header describes, before its weights are loaded.

    Raises:
        ModelError: its weights are not those that the file has. Those of a far larger one are not even made.
    """
    flow, layout = header.config.flow, TableEncoder(header.columns).layout
    assert flow is not None  # the header's own check
    try:
        density = assemble(flow, layout, Limited.to(tensors.values()))
        if {name: facts_of(tensor) for name, tensor in density.state_dict().items()} != tensors:
            raise TooLarge
    except TooLarge:
        raise ModelError(f"{file}: damaged: its weights are not those that its config asks for") from None
    except ConfigError as error:
        raise ModelError(f"{file}: damaged: {error.problems[0]}") from None
    return density


def _as_table(table: Table | pd.DataFrame) -> Table:
    if isinstance(table, Table):
        return table
    pandas: Any = sys.modules.get("pandas")
    if pandas is not None and isinstance(table, pandas.DataFrame):
        return from_dataframe(table)
    raise FlowcliError(f"a table is a pandas DataFrame or a flowcli Table; got {type(table).__name__}")


def _refuse_bad(encoded: Encoded, table: Table) -> None:
    if encoded.bad:
        row = min(encoded.bad)
        others = f" (and {len(encoded.bad) - 1:,} more rows)" if len(encoded.bad) > 1 else ""
        raise DataError(f"{table.locate(row)}, {encoded.bad[row]}{others}")
