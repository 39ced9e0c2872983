"""What a report on a model shows: pictures, rows, figures, and why some of it may be left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from flowcli.errors import FlowcliError
from flowcli.evaluating import Evaluation, evaluate
from flowcli.exploring import explore
from flowcli.flows.rows import Rows
from flowcli.model import Model
from flowcli.plots.context_explorer import Exploration
from flowcli.plots.picture import picture_bytes
from flowcli.plots.style import DPI
from flowcli.plotting import Data, latents_picture, pairs_picture, shown_by_default, training_picture
from flowcli.preprocess.encoder import Encoded
from flowcli.tables.cells import as_text

SAMPLES = 10_000
# Of screens that have two dots for one.
SHARP = 2 * DPI
LEAST_LIKELY, MOST_LIKELY = 10, 5
MOST_COLUMNS = 16


@dataclass(frozen=True)
class RankedRow:
    """A row by its likelihood: where it stands, its log-likelihood in nats, its cells, ``None`` for a missing one."""

    place: str
    log_prob: float
    cells: list[str | None]


@dataclass(frozen=True)
class Ranking:
    """The least and the most likely rows, the most extreme first, and the columns of their cells, but for some."""

    columns: list[str]
    least: list[RankedRow]
    most: list[RankedRow]
    columns_left: int


@dataclass
class Report:
    """What there is to show; ``left_out`` and ``notes`` are by section: why it is not there, what to know of it.

    ``pictures`` are PNGs: ``training``, ``pairs`` and ``latents``.
    """

    data_name: str = ""
    pictures: dict[str, bytes] = field(default_factory=dict)
    ranking: Ranking | None = None
    evaluation: Evaluation | None = None
    exploration: Exploration | None = None
    left_out: dict[str, str] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)

    def attempt(self, section: str, make: Callable[[], None]) -> None:
        """Do it, or keep why it cannot be done."""
        try:
            make()
        except FlowcliError as error:
            self.left_out[section] = str(error)

    def note(self, section: str, text: str) -> None:
        """Something to know of a section."""
        self.notes.setdefault(section, []).append(text)

    def draw(self, section: str, make: Callable[[], Figure]) -> None:
        """A picture, or why there is none."""
        self.attempt(section, lambda: self.pictures.update({section: picture_bytes(make(), "png", SHARP)}))


def report(
    model: Model,
    name: str,
    folder: Path,
    data: Data | None,
    named: bool,
    test: Callable[[], tuple[Iterable[Encoded], Rows | None]],
    seed: int,
) -> Report:
    """Draw and compute what a report shows.

    Args:
        name: the model's, in pictures.
        folder: where the history of its training is, if anywhere.
        data: the rows to show; of those that the model cannot score, some are left out unless they were ``named``.
        test: rows to evaluate the model on, and rows to fit baselines to.

    Raises:
        DataError: ``named`` rows cannot be scored.
    """
    found = Report()
    found.draw("training", lambda: training_picture(folder))
    if data is not None:
        data, log_prob = _scored(model, data, named, found)
        shown = data
        found.data_name = data.name
        found.draw("pairs", lambda: pairs_picture(model, name, shown, [], SAMPLES, seed))
        kept = shown_by_default(model.header.columns)
        more = [c.name for c in model.header.columns if c.kind not in ("constant", "identifier") and c not in kept]
        if more:
            found.note("pairs", f"Not shown: {', '.join(more)}.")
        found.draw("latents", lambda: latents_picture(model, name, shown, lambda text: found.note("latents", text)))
        names = [column.name for column in model.header.columns if column.name in data.table.names]
        found.ranking = _ranked(data, log_prob, names)
        if model.encoder.context:
            found.attempt("explorer", lambda: setattr(found, "exploration", explore(model, shown.table, seed)))
    found.attempt("figures", lambda: setattr(found, "evaluation", evaluate(model, *test(), SAMPLES, seed)))
    if found.evaluation is not None and not found.evaluation.baselines:
        found.note("figures", "Baselines are left out: the model's training rows are not at hand.")
    return found


def _scored(model: Model, data: Data, named: bool, found: Report) -> tuple[Data, npt.NDArray[np.float64]]:
    """The rows that can be scored, and their log-likelihoods ``(n,)``."""
    log_prob = model.log_prob(data.table, on_bad_row="error" if named else "empty")
    good = np.flatnonzero(~np.isnan(log_prob))
    if len(good) < len(log_prob):
        found.note("rows", f"{len(log_prob) - len(good):,} rows are left out that the model cannot score.")
        data = Data(data.table.take(good), data.name)
    return data, log_prob[good]


def _ranked(data: Data, log_prob: npt.NDArray[np.float64], columns: list[str]) -> Ranking:
    table = data.table
    names = columns[:MOST_COLUMNS]
    order = np.argsort(log_prob, kind="stable")
    least, most = order[:LEAST_LIKELY], order[::-1][: min(MOST_LIKELY, max(0, len(order) - LEAST_LIKELY))]
    cells = {name: as_text(table.take(np.concatenate([least, most])).column(name)).to_pylist() for name in names}
    rows = [
        RankedRow(_place(table.locate(int(row))), float(log_prob[row]), [cells[name][at] for name in names])
        for at, row in enumerate([*least, *most])
    ]
    return Ranking(names, rows[: len(least)], rows[len(least) :], len(columns) - len(names))


def _place(located: str) -> str:
    """The place of a row, without the folder of its file."""
    source, colon, row = located.rpartition(": row ")
    return f"{Path(source).name}{colon}{row}"
