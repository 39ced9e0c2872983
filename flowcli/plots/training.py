"""How a training went."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from flowcli.plots.style import BLUE, GREEN, GREY, VERMILION, new_figure, styled

Floats = npt.NDArray[np.float64]

# What the first epochs gain is not to flatten the rest: the axis begins at this quantile, less a part of what is above.
FIRST_SHOWN = 0.1


def training(history: dict[str, Floats], metrics: dict[str, Any]) -> Figure:
    """Log-likelihoods by epoch, the best epoch, the test score with its standard error, and the learning rate.

    Args:
        history: the columns of ``history.csv``, each ``(epochs,)``.
        metrics: those of ``metrics.json``.
    """
    epochs = history["epoch"]
    curves = {
        "training": (history["training_log_likelihood"], BLUE, "-"),
        "validation": (history["validation_log_likelihood"], VERMILION, "-"),
    }
    with styled():
        figure = new_figure(4.8)
        axes, rate = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
        for name, (values, colour, line) in curves.items():
            if np.isfinite(values).any():
                axes.plot(epochs, values, line, color=colour, label=name)
        best = metrics["best_epoch"]
        at = np.flatnonzero(epochs == best)
        if len(at):
            values = curves["validation"][0] if np.isfinite(curves["validation"][0]).any() else curves["training"][0]
            axes.axvline(best, color=GREY, linewidth=0.8, linestyle=":")
            kept = "the last that a member keeps" if metrics.get("mixture") else "which is kept"
            axes.plot([best], values[at], "o", color=VERMILION, markeredgecolor="white", label=f"epoch {best}, {kept}")
        test = metrics["test_log_likelihood"]
        shown = [values for values, *_ in curves.values()]
        if test and test["mean"] is not None:
            mean, error = test["mean"], test["standard_error"] or 0.0
            told = f"test: {mean:.3f} ± {error:.3f}, n = {test['n']:,}".replace("-", "−")
            axes.axhline(mean, color=GREEN, linestyle="--", label=told)
            axes.axhspan(mean - error, mean + error, color=GREEN, alpha=0.15, linewidth=0)
            shown.append(np.array([mean - error, mean + error]))
        axes.set_ylim(_limits(shown))
        axes.set_ylabel("log-likelihood (nats per row)")
        axes.legend(loc="lower right")
        rate.plot(epochs, history["learning_rate"], color=GREY)
        rate.set_ylim(bottom=0)
        rate.yaxis.set_major_locator(MaxNLocator(2))
        rate.yaxis.set_major_formatter(EngFormatter(sep=" ") if _tiny(history["learning_rate"]) else "{x:g}")
        rate.set_ylabel("learning rate")
        rate.set_xlabel("epoch")
        rate.xaxis.set_major_locator(MaxNLocator(integer=True))
        rate.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
        figure.align_ylabels()
    return figure


def _tiny(rates: Floats) -> bool:
    return bool(np.nanmax(rates) < 1e-4)


def _limits(curves: list[Floats]) -> tuple[float, float]:
    finite = [values[np.isfinite(values)] for values in curves if np.isfinite(values).any()]
    if not finite:
        return 0.0, 1.0
    high = max(float(values.max()) for values in finite)
    low = min(float(np.quantile(values, FIRST_SHOWN)) for values in finite)
    room = 0.25 * (high - low) or 0.5
    return max(low - room, min(float(values.min()) for values in finite) - 0.05 * room), high + 0.4 * room
