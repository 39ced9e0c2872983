"""A column as it stands on an axis: places, limits, bins and ticks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from matplotlib.axis import Axis
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.ticker import EngFormatter, FixedLocator, FuncFormatter, MaxNLocator, ScalarFormatter

from flowcli.preprocess.numbers import column_numbers
from flowcli.printable import printable
from flowcli.tables.arrays import numbers
from flowcli.tables.cells import as_text
from flowcli.tables.columns import Column
from flowcli.tables.dates import SECONDS_A_DAY, unit, written_dates

Floats = npt.NDArray[np.float64]

# More labels than this are shown as the commonest and the rest together.
MOST_LABELS = 8
OTHERS = "others"
LONGEST_LABEL = 14
LONGEST_NAME = 40
# An axis goes so far beyond the quantiles that hold all but this share of the rows on either side, in units of their
# distance: what is further out, in a heavy tail, is not shown.
OUTSIDE = 0.01
BEYOND_QUANTILES = 0.35
MARGIN = 0.03
LEAST_BINS, MOST_BINS = 12, 40
# A grid with no more places than this has a bin for each.
FEW_PLACES = 16
# More spikes than this are a histogram's bars like all others.
FEW_SPIKES = 2
# No tick is so near to an axis's end, as a share of its length.
CLEAR_OF_ENDS = 0.04
# Numbers from here on are written as 10k, 20k.
LARGE = 10_000


class ShownColumn:
    """One column on an axis. Dates are in days since 1970, labels at 0, 1, ... in their own order."""

    def __init__(self, column: Column, cells: pa.ChunkedArray) -> None:
        """``cells``: those that say which labels are common."""
        self.column = column
        self.is_label = column.kind == "label"
        self.labels: list[str] = self._common(cells) if self.is_label else []
        # How many days the column's own unit is.
        per_day = unit(column.date_format) / SECONDS_A_DAY if column.kind == "date" else 1.0
        self.per_day = per_day
        step = 1.0 if column.kind == "ordinal" else column.step
        if step is None and column.kind == "number" and column.decimals is not None:
            step = 10.0**-column.decimals
        self.step = None if step is None else step * per_day
        self.origin = column.origin * per_day
        spikes = [spike * per_day for spike in column.spikes]
        self.spikes = spikes if len(spikes) <= FEW_SPIKES else []

    @property
    def name(self) -> str:
        """The column's name, with its unit."""
        name = shortened(printable(self.column.name), LONGEST_NAME)
        return f"{name} [{printable(self.column.unit)}]" if self.column.unit else name

    def _common(self, cells: pa.ChunkedArray) -> list[str]:
        categories = list(self.column.categories)
        if len(categories) <= MOST_LABELS:
            return categories
        counts = as_text(cells).value_counts()
        seen = {row["values"]: row["counts"] for row in counts.to_pylist()}
        common = sorted(categories, key=lambda label: -seen.get(label, 0))[: MOST_LABELS - 1]
        return [label for label in categories if label in common] + [OTHERS]

    def places(self, cells: pa.ChunkedArray) -> Floats:
        """Where cells stand on the axis, ``(n,)``; NaN for a missing one."""
        if not self.is_label:
            return column_numbers(self.column, cells).values * self.per_day
        positions = {label: at for at, label in enumerate(self.labels)}
        rest = float(positions.get(OTHERS, np.nan))
        found = [np.nan if text is None else positions.get(text, rest) for text in as_text(cells).to_pylist()]
        return np.array(found, dtype=np.float64)

    def cells(self, places: Floats) -> pa.Array:
        """Cells of a column of numbers or dates that stand at these places; of dates written to the next one."""
        if self.column.kind == "date":
            return written_dates(places / self.per_day, self.column.date_format)
        return numbers(places)

    def written(self, place: float) -> str:
        """A place of a column of numbers or dates, for people."""
        if self.column.kind == "date":
            return str(self.cells(np.array([place]))[0].as_py())
        return f"{place:.5g}" if self.column.decimals is None else f"{place:.{self.column.decimals}f}"

    @property
    def discrete(self) -> bool:
        """Whether each of its values has a probability."""
        return self.is_label or self.column.kind == "ordinal"

    def within_bounds(self, low: float, high: float) -> tuple[float, float]:
        """The part of an axis where the density is not zero by construction."""
        lower, upper = (b if b is None else b * self.per_day for b in (self.column.lower, self.column.upper))
        return low if lower is None else max(low, lower), high if upper is None else min(high, upper)

    def of_encoded(self, numbers: Floats) -> Floats:
        """The places of numbers that are in units of the column's scale, from its mean."""
        return (numbers * self.column.scale + self.column.mean) * self.per_day

    def without_spikes(self, places: Floats) -> Floats:
        """The places of cells that are neither missing nor one of a few spikes."""
        spiked = np.isin(places, self.spikes)
        return places[np.isfinite(places) & ~spiked]

    def spread(self, places: Floats, noise: np.random.Generator) -> Floats:
        """Places on a grid moved by up to half a step either way, so that no comb shows."""
        if self.step is None:
            return places
        return places + self.step * noise.uniform(-0.5, 0.5, len(places))

    def limits(self, *each: Floats) -> tuple[float, float]:
        """Where the axis begins and ends, for these places."""
        if self.is_label:
            return -0.6, len(self.labels) - 0.4
        ends = [_ends(places[np.isfinite(places)]) for places in each if np.isfinite(places).any()]
        low, high = (min(low for low, _ in ends), max(high for _, high in ends)) if ends else (0.0, 1.0)
        half = (self.step or 0.0) / 2
        margin = MARGIN * (high - low) or half or 0.5
        return low - max(margin, half), high + max(margin, half)

    def has_few_places(self, low: float, high: float) -> bool:
        """Whether it lies on a grid of a few places, each of which has a bin of its own."""
        return self.step is not None and (high - low) / self.step <= FEW_PLACES

    def bins(self, places: Floats, low: float, high: float) -> Floats:
        """Edges of bins from ``low`` to ``high``, halfway between the places of a grid, by Freedman and Diaconis."""
        count = 1.0
        if len(places) > 1:
            spread = float(np.subtract(*np.quantile(places, [0.75, 0.25]))) or float(places.std())
            count = (high - low) / (2 * spread * len(places) ** (-1 / 3)) if spread > 0 else 10.0
        width = (high - low) / min(max(count, LEAST_BINS), MOST_BINS)
        if self.step is None:
            return np.linspace(low, high, round((high - low) / width) + 1)
        if self.has_few_places(low, high):
            width = self.step
        width = self.step * max(1.0, np.floor(width / self.step))
        start = self.origin + self.step * (np.floor((low - self.origin) / self.step) - 0.5)
        return np.asarray(start + width * np.arange(np.ceil((high - start) / width) + 1))

    def dress(self, axis: Axis, ticks: int = 5) -> None:
        """Give an axis, whose limits are set, about so many ticks that suit the column."""
        if self.is_label:
            axis.set_major_locator(FixedLocator(range(len(self.labels))))
            names = [shortened(printable(label), LONGEST_LABEL) for label in self.labels]
            axis.set_major_formatter(FuncFormatter(lambda at, _: names[int(at)] if int(at) == at else ""))
        elif self.column.kind == "date":
            locator = AutoDateLocator(minticks=2, maxticks=ticks)  # type: ignore[no-untyped-call]
            axis.set_major_locator(locator)
            formatter = ConciseDateFormatter(locator, show_offset=False)  # type: ignore[no-untyped-call]
            axis.set_major_formatter(formatter)
        else:
            whole = self.step is not None and self.step >= 1
            low, high = axis.get_view_interval()
            found = MaxNLocator(ticks, integer=whole, min_n_ticks=2, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
            # At an end, a label would run into that of the panel beside it.
            free = CLEAR_OF_ENDS * (high - low)
            axis.set_major_locator(FixedLocator([at for at in found if low + free <= at <= high - free]))
            large = np.abs(axis.get_view_interval()).max() >= LARGE
            axis.set_major_formatter(EngFormatter(sep="") if large else ScalarFormatter(useOffset=False))


def shortened(text: str, longest: int) -> str:
    """A text of at most so many letters."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _ends(places: Floats) -> tuple[float, float]:
    low, high = np.quantile(places, [OUTSIDE, 1 - OUTSIDE])
    reach = BEYOND_QUANTILES * (high - low)
    if not reach:
        return float(places.min()), float(places.max())
    return float(max(places.min(), low - reach)), float(min(places.max(), high + reach))
