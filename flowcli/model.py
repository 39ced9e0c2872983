"""The trained model in the user's terms."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flowcli.checked_models import is_remembered, remember
from flowcli.errors import DataError, ModelError, UsageError
from flowcli.files import written_whole
from flowcli.model_file import ModelFile, ModelHeader, load_arrays, model_bytes, read_model_file
from flowcli.preprocess.encoder import Encoded, TableEncoder, concatenated
from flowcli.programs.engine import ProgramEngine
from flowcli.programs.mixture import MixtureProgramEngine, engine_of
from flowcli.runs import resolve_model
from flowcli.tables.arrays import integers, texts
from flowcli.tables.frames import as_table, files_of, in_kind_of, is_single_row, library_of, written_as
from flowcli.tables.table import Origin, Table
from flowcli.transforms.support import PLACEHOLDER

if TYPE_CHECKING:
    import torch

    from flowcli.flows.density import Density
    from flowcli.flows.drawn import Drawn
    from flowcli.flows.engine import TorchEngine
    from flowcli.pyro_distribution import FlowDistribution
    from flowcli.tables.frames import Library, TableLike

Floats = npt.NDArray[np.float64]

# Names of columns, where a model is shown.
MOST_SHOWN = 20


@dataclass(frozen=True)
class Scores:
    """Log-likelihoods of rows in nats ``(n,)``, NaN where a row could not be scored, and unseen labels."""

    log_prob: npt.NDArray[np.float64]
    unseen_label: npt.NDArray[np.bool_]


class Model:
    """A density over rows of a table, in the data's own units.

    Weights are trained in float32; scores, latents and samples are computed in float64, so that they do
    not depend on how rows are batched (with ``ffjord``, to the tolerance of its solver).

    A table is what :func:`flowcli.fit` takes, and what comes back is of the same library: a DataFrame of pandas (with
    the index of the one given) or polars, an Arrow table, an array; of files and mappings, a DataFrame of pandas.
    Columns are found by their names, an array's, by default, being ``x1..xd``.

    A model that was loaded is pickled by its file: the path, made absolute, and the contents' SHA-256. Where it is
    unpickled, a process reads the file once. One that was fitted here is pickled as the contents of the file that
    :meth:`save` would write. Both are checked when they are unpickled, like any file.

    Example:
        >>> import flowcli
        >>> model = flowcli.fit("data/iris.csv", "conditional", train__epochs=1)
        >>> flowers = {"sepal_length": 5, "sepal_width": 3.4, "species": "setosa"}
        >>> model.sample(2, given=flowers, seed=0)[["species", "sepal_length"]]
          species  sepal_length
        0  setosa             5
        1  setosa             5
        >>> float(model.log_prob(flowers | {"petal_length": 7.0, "petal_width": 0.1})[0]) < -10
        True
    """

    def __init__(
        self,
        header: ModelHeader,
        torch_engine: Callable[[], TorchEngine],
        programs: ProgramEngine | MixtureProgramEngine | None = None,
    ) -> None:
        """``torch_engine`` is called when it is needed; small inputs are left to ``programs``, where there are some."""
        self.header = header
        self.encoder = TableEncoder(header.columns)
        self._torch_engine = torch_engine
        self._programs = programs
        # What opens it again: the file, its SHA-256, and the device.
        self.opened_from: tuple[str, str, str] | None = None

    @classmethod
    def of(cls, header: ModelHeader, density: Density, device: torch.device) -> Model:
        """The model of a density."""
        from flowcli.flows.engine import TorchEngine

        engine = TorchEngine(density, device)
        return cls(header, lambda: engine)

    @classmethod
    def load(
        cls,
        path: str | Path | ModelFile | None = None,
        device: str = "auto",
        light: bool = False,
    ) -> Model:
        """Load a run folder or a model file, its header read or not; by default ``$FLOWCLI_MODEL`` or the newest run.

        Args:
            light: on a device that is not said to be CUDA, import torch only when an input is large enough, when the
                model has a function that needs it, or when the file was never loaded before: its weights are then
                compared with its config. For a process that computes little before it ends.

        Raises:
            UsageError: there is no such model.
            ModelError: the file is damaged or is not a model of flowcli.
        """
        file = path if isinstance(path, ModelFile) else read_model_file(resolve_model(path))
        header = file.header

        @functools.cache
        def load() -> TorchEngine:
            from flowcli.flows.engine import TorchEngine, load_density
            from flowcli.training.devices import resolve_device

            place = resolve_device(device)
            layout = TableEncoder(header.columns).layout
            assert header.config.flow is not None  # the header's own check
            engine = TorchEngine(load_density(header.config.flow, layout, file.weights, file.path), place)
            remember(file.digest)
            return engine

        lock = threading.Lock()

        def torch_engine() -> TorchEngine:
            # Threads that need it at the same time must not load it twice.
            with lock:
                return load()

        programs = None
        if light and device in ("auto", "cpu") and "torch" not in sys.modules:
            programs = program_engine(file)
        model = cls(header, torch_engine, programs)
        # Where it is unpickled there may be no GPU.
        model.opened_from = str(file.path.absolute()), file.digest, "cpu" if device == "cpu" else "auto"
        if programs is None or not is_remembered(file.digest):
            torch_engine()
        return model

    @property
    def density(self) -> Density:
        """The density itself; with it comes torch."""
        return self._torch_engine().density

    @property
    def components(self) -> int:
        """Of a mixture, how many densities it has; 0 of a single one."""
        return self._engine("decode", 1).components

    @property
    def device(self) -> torch.device:
        """Where torch computes."""
        return self._torch_engine().device

    def _engine(self, function: str, rows: int) -> TorchEngine | ProgramEngine | MixtureProgramEngine:
        """What computes a function of the last of so many rows.

        By their number alone, so that it does not depend on which thread is first.
        """
        if self._programs is not None and self._programs.pays(function, rows):
            return self._programs
        return self._torch_engine()

    def to_bytes(self) -> bytes:
        """The model file's contents."""
        from flowcli.programs.density import record_programs

        weights = {
            name: weight.float() if weight.is_floating_point() else weight
            for name, weight in self.density.state_dict().items()
        }
        tensors = {name: weight.cpu().contiguous().numpy() for name, weight in weights.items()}
        programs, constants = record_programs(self.density, self.encoder.context_features)
        return model_bytes(self.header, tensors, programs, constants)

    def save(self, path: str | Path) -> None:
        """Write the model file, whole or not at all; a file that is there is replaced.

        Raises:
            FlowcliError: it cannot be written.
        """
        content = self.to_bytes()
        with written_whole(Path(path)) as stream:
            stream.write(content)

    def __reduce__(self) -> tuple[Callable[..., Model], tuple[Any, ...]]:
        from flowcli.pickled import reopened, unpickled

        if self.opened_from is not None:
            return reopened, self.opened_from
        return unpickled, (self.to_bytes(), "cpu" if self.device.type == "cpu" else "auto")

    def __repr__(self) -> str:
        names = [column.name for column in self.header.columns if column.kind != "identifier"]
        some = [repr(name) if "," in name else name for name in names[:MOST_SHOWN]]
        more = f" and {len(names) - MOST_SHOWN:,} more" if len(names) > MOST_SHOWN else ""
        return f"Model of {len(names):,} column{'' if len(names) == 1 else 's'}: {', '.join(some)}{more}"

    def _table(self, table: TableLike, names: Sequence[str] | None = None) -> Table:
        """A table of any library, or files; ``names`` are an array's."""
        files = files_of(table)
        if files is not None:
            from flowcli.tables.read import read_table

            return read_table(files, self.header.config.data.encoding)
        return as_table(table, names=names)

    def score(self, table: TableLike, on_bad_row: str = "error") -> Scores:
        """Like :meth:`log_prob`, and which rows have a label that training had not."""
        rows = self._table(table)
        return self.scores(rows, self.encoded(rows, on_bad_row))

    def scores(self, table: Table, encoded: Encoded) -> Scores:
        """Like :meth:`score`, of a table that :meth:`encoded` has encoded."""
        log_prob = self.score_encoded(encoded, table.last_row)
        good = np.ones(len(log_prob), dtype=bool)
        good[list(encoded.bad)] = False
        broken = np.flatnonzero(np.isnan(log_prob) & good)
        log_prob[~good] = np.nan
        if len(broken):
            raise ModelError(f"{table.locate(int(broken[0]))}: the model's arithmetic fails on this row")
        return Scores(log_prob, (encoded.labels < 0).any(axis=1) & ~np.isnan(log_prob))

    def score_encoded(self, encoded: Encoded, last_row: int | None = None) -> npt.NDArray[np.float64]:
        """Log-likelihoods ``(n,)`` of rows that the model's encoder has encoded.

        ``last_row``: the number of the last one in its source, by default of these.
        """
        log_prob = np.empty(len(encoded.numbers))
        engine = self._engine("log_prob", last_row or len(log_prob))
        for start in range(0, len(log_prob), engine.chunk):
            rows = slice(start, start + engine.chunk)
            part = encoded.take(rows)
            # What is outside its bounds has no place on the real line.
            held = replace(part, numbers=np.where(part.outside[:, None], PLACEHOLDER, part.numbers))
            log_prob[rows] = engine.log_prob(held)
            log_prob[rows][part.outside] = -np.inf
        return log_prob

    def encoded(self, table: Table, on_bad_row: str = "error") -> Encoded:
        """The rows as the model sees them.

        Raises:
            DataError: columns are missing, or, unless ``on_bad_row`` is another word, a row cannot be scored.
        """
        encoded = self.encoder.encode(table)
        if on_bad_row == "error":
            _refuse_bad(encoded, table)
        return encoded

    def log_prob(self, table: TableLike, on_bad_row: str = "error") -> npt.NDArray[np.float64]:
        """Log-likelihood of each row in nats, ``(n,)``, given its context columns.

        A row with a label that training had not has probability zero: ``-inf``.

        Args:
            on_bad_row: what to do with a row that cannot be scored: ``error``, or ``empty`` for NaN.

        Raises:
            DataError: columns are missing, or a row cannot be scored; the message names it.
        """
        return self.score(table, on_bad_row).log_prob

    def encode(self, table: TableLike) -> Any:
        """Latents ``z1..zd``, then label, ordinal and context columns as they are, and the states of partial ones.

        In the kind of the table.

        Raises:
            DataError: columns are missing, or a row cannot be encoded.
        """
        rows = self._table(table)
        encoded = self.encoded(rows)
        self._refuse_unseen(encoded, rows)
        if encoded.outside.any():
            raise DataError(f"{rows.locate(int(encoded.outside.argmax()))}: a number is beyond its column's bounds")
        engine = self._engine("encode", rows.last_row)
        width = len(self.encoder.layout.numbers) + bool(engine.components)
        latent = engine.encode(encoded) if len(rows) else np.empty((0, width))
        return in_kind_of(table, self.encoder.latent_cells(latent, encoded.labels, rows))

    def decode(self, table: TableLike) -> Any:
        """Rows in the data's columns from rows of :meth:`encode`, in the kind of the table.

        Raises:
            DataError: columns are missing, or a row cannot be decoded.
        """
        components = self.components
        rows = self._table(table, self.encoder.names_in_latent_cells(mixture=bool(components)))
        encoded = self.encoder.encode_latent(rows, components)
        _refuse_bad(encoded, rows)
        self._refuse_unseen(encoded, rows)
        engine = self._engine("decode", rows.last_row)
        numbers = engine.decode(encoded) if len(rows) else encoded.numbers[:, : len(self.encoder.layout.numbers)]
        broken = np.flatnonzero(~np.isfinite(numbers).all(axis=1))
        if len(broken):
            raise DataError(f"{rows.locate(int(broken[0]))}: no row of the model has these latents")
        decoded = self.encoder.decode(numbers, encoded.labels, encoded.ordinals, rows.cells, rounded=False)
        return in_kind_of(table, decoded)

    def sample(
        self, n: int, given: TableLike | None = None, seed: int | None = None, as_: Library | None = None
    ) -> Any:
        """Draw ``n`` rows, or ``n`` for each row of ``given``; the same rows for the same ``seed``.

        Args:
            given: the context columns; needed when the model has any. A mapping may hold one value for each of them.
            as_: the library of the result, ``pandas``, ``polars``, ``arrow`` or ``numpy``; by default that of
                ``given``, else pandas.

        Raises:
            UsageError: the model has context columns and ``given`` is missing or lacks one; or it has none.
            DataError: a given value does not fit its column.
        """
        for name, value in (("n", n), ("seed", 0 if seed is None else seed)):
            if not isinstance(value, Integral) or value < 0:
                raise UsageError(f"{name} is a whole number from 0 on; got {value!r}")
        cells = pa.concat_tables(self.sample_chunks(n, given, seed))
        return written_as(cells, as_ or library_of(given))

    def as_pyro(self, given: TableLike | None = None) -> FlowDistribution:
        """The density as a Pyro distribution over its number columns, in the data's own units.

        Args:
            given: the context columns; needed when the model has any. One row each gives a batch, one value each (in
                a mapping) none.

        Raises:
            ModelError: a column that is modelled is no number, or may be missing or on a spike.
            UsageError: the model has context columns and ``given`` is missing or lacks one; or it has none.
            DataError: a given value does not fit its column.
        """
        from flowcli.pyro_distribution import of_columns

        context = self._given(given)[0]
        single = given is None or is_single_row(given)
        return of_columns(self.encoder.columns, self.density, self.device, context[0] if single else context)

    def sample_chunks(
        self,
        n: int,
        given: TableLike | None = None,
        seed: int | None = None,
        set_to: Mapping[str, str] | None = None,
        needed: int | None = None,
        only: tuple[int, int] | None = None,
    ) -> Iterator[pa.Table]:
        """Draw ``n`` rows, or ``n`` for each row of ``given``, a chunk at a time.

        The first rows of a longer sample with the same seed are those of a shorter one.

        Args:
            given: the context columns; needed when the model has any.
            seed: ``None`` takes a fresh one.
            set_to: values of modelled columns that are :func:`flowcli.conditioning.settable`.
            needed: how many of the rows are sure to be taken; by default all.
            only: draw those from the first number up to the second, counted from 0, the first a multiple of
                :data:`flowcli.chunks.CHUNK`: the same rows as with all others, for a seed that is given.

        Raises:
            UsageError: the model has context columns and ``given`` is missing or lacks one.
            DataError: a given value does not fit its column.
        """
        context, cells = self._given(given)
        rows = n * len(context)
        bits = np.random.PCG64(seed)
        noise = np.random.Generator(bits)
        needed = rows if needed is None else min(needed, rows)
        draw = self._drawing(set_to or {}, needed)
        chunk = self._engine("sample", needed).sampling_chunk
        first, stop = only or (0, rows)
        if first:
            # What the rows before these would take.
            bits.advance(first * self._engine("sample", rows).noise_features)
        for start in range(first, max(stop, first + 1), chunk):
            which = np.arange(start, min(start + chunk, stop)) // max(n, 1)
            numbers, labels, ordinals = draw(noise, context[which])
            yield self.encoder.decode(numbers, labels, ordinals, cells and cells.take(integers(which)), rounded=True)

    def sample_encoded(self, context: Floats, seed: int) -> Encoded:
        """A row for each row of the encoded context ``(n, c)``, as samples are written, and encoded again."""
        noise = np.random.Generator(np.random.PCG64(seed))
        draw = self._drawing({}, len(context))
        chunk = self._engine("sample", len(context)).sampling_chunk
        # What the context's cells were is not known, nor needed.
        modelled = TableEncoder([column for column in self.encoder.columns if not column.context])
        parts = []
        for start in range(0, max(1, len(context)), chunk):
            numbers, labels, ordinals = draw(noise, context[start : start + chunk])
            cells = modelled.decode(numbers, labels, ordinals, None, rounded=True)
            table = Table(cells, (Origin("the samples", start + 1, len(numbers)),))
            parts.append(modelled.encode(table))
            _refuse_bad(parts[-1], table)
        return replace(concatenated(parts), context=context)

    def _drawing(self, set_to: Mapping[str, str], needed: int) -> Callable[[np.random.Generator, Floats], Drawn]:
        """What draws a chunk of rows, given their context, of at least so many rows in all."""
        if set_to:
            engine = self._torch_engine()
            known, of_factors = self._known(set_to)
            return lambda noise, context: engine.sample(
                noise.random((len(context), engine.noise_features)), context, known, of_factors
            )

        drawn = 0

        def draw(noise: np.random.Generator, context: Floats) -> Drawn:
            nonlocal drawn
            drawn += len(context)
            engine = self._engine("sample", max(needed, drawn))
            return engine.sample(noise.random((len(context), engine.noise_features)), context)

        return draw

    def _known(self, set_to: Mapping[str, str]) -> tuple[Encoded, list[int]]:
        """One row of the columns that are set, and the factors that these are."""
        layout = self.encoder.layout
        needed = {*layout.modelled, *(name for name, _ in layout.context)}
        cells = pa.table({name: texts([set_to.get(name)]) for name in needed})
        row = self.encoder.encode(Table(cells, (Origin("the values given", 1, 1),)))
        positions = (
            {at for at, name in enumerate(names) if name in set_to}
            for names in (layout.numbers, [n for n, _ in layout.labels], [n for n, _ in layout.ordinals])
        )
        return row, self.density.factors_of(*positions)

    def _given(self, given: TableLike | None) -> tuple[npt.NDArray[np.float64], pa.Table | None]:
        """The encoded context ``(m, c)`` and its cells; one empty row when the model has no context."""
        names = [column.name for column in self.encoder.context]
        if given is None:
            if names:
                raise UsageError(f"the model is conditional: give a value for {', '.join(names)}")
            return np.empty((1, 0)), None
        if not names:
            raise UsageError("the model has no context columns: there is nothing that could be given")
        table = self._table(given, names)
        others = [name for name in table.names if name not in names]
        if others and is_single_row(given):
            raise UsageError(f"given: {', '.join(map(repr, others))} not among the context columns, {', '.join(names)}")
        missing = [name for name in names if name not in table.names]
        if missing:
            raise UsageError(f"the model is conditional: give a value for {', '.join(missing)} too")
        encoded = self.encoder.encode_context(table)
        _refuse_bad(encoded, table)
        return encoded.context, table.cells.select(names)

    def _refuse_unseen(self, encoded: Encoded, table: Table) -> None:
        """Refuse rows whose label training had not: nothing is known of their numbers."""
        rows, positions = np.nonzero(encoded.labels < 0)
        if len(rows):
            name = self.encoder.labels[positions[0]].name
            value = table.column(name)[int(rows[0])].as_py()
            raise DataError(f"{table.locate(int(rows[0]))}, column {name!r}: {value!r} was not among the training rows")


def program_engine(file: ModelFile) -> ProgramEngine | MixtureProgramEngine | None:
    """The programs of a model file, or ``None`` if it has none.

    Raises:
        ModelError: the file is damaged.
    """
    if file.programs is None:
        return None
    layout = TableEncoder(file.header.columns).layout
    sizes = [size for _, size in layout.labels]
    widths = len(layout.numbers), len(sizes), len(layout.ordinals)
    return engine_of(str(file.path), file.programs, load_arrays(file), widths, sizes)


def _refuse_bad(encoded: Encoded, table: Table) -> None:
    if encoded.bad:
        row = min(encoded.bad)
        others = f" (and {len(encoded.bad) - 1:,} more rows)" if len(encoded.bad) > 1 else ""
        raise DataError(f"{table.locate(row)}, {encoded.bad[row]}{others}")
