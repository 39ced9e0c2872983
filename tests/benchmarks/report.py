"""The tables of speed.py, as lines of Markdown."""

from __future__ import annotations

from typing import Any

from lines import BARE, FIT, FLOAT64, PRODUCTS
from timing import FEWEST_ROUNDS


def head(report: dict[str, Any]) -> list[str]:
    versions = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    machine = ", ".join(str(report[name]) for name in ("date", "device", "processor") if report[name])
    text = [
        f"{machine}, {report['cores']} cores, threads: {report['threads']}; {versions}.",
        "",
        f"{report['rounds']} interleaved rounds, float32. Median (quartiles) ×time over flowcli's in the same round.",
        "lost: the share of the time in which the benchmark did not run, because others did.",
        "error: the largest difference of any library's log-densities from its own in float64, absolute or relative;",
        "where rows are drawn, also of flowcli's samples.",
    ]
    if report["rounds"] < FEWEST_ROUNDS:
        text.append(f"A trial: figures need {FEWEST_ROUNDS} rounds.")
    return text + [f"{name} is not installed, and left out." for name in report["missing"]]


def row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def table_head(columns: list[str]) -> list[str]:
    return ["", row(columns), f"|{' --- |' * len(columns)}"]


def columns_of(task: str, libraries: list[str]) -> list[str]:
    if task == "training step":
        return [*libraries, PRODUCTS]
    plain = [name for name in libraries if "compiled" not in name]
    return ["flowcli", FLOAT64, *plain[1:], PRODUCTS]


def line_head(unit: str, columns: list[str]) -> list[str]:
    return table_head([unit, *columns, "parameters", "error", "lost"])


def line_row(line: dict[str, Any], columns: list[str]) -> str:
    cells = []
    for name in columns:
        result = line["results"].get(name)
        if result is None:
            cells.append("–")
            continue
        if line["task"] == "training step":
            cell = spread([1e3 * value for value in result["seconds"]])
        else:
            cell = spread([line["rows"] / value / 1e3 for value in reversed(result["seconds"])])
        cells.append(cell if name == "flowcli" else f"{cell} ×{three(result['times_flowcli'][1])}")
    counts = line["parameters"]
    others = [f"{name} {count:,}" for name, count in counts.items() if count != counts["flowcli"]]
    parameters = "; ".join([f"{counts['flowcli']:,}", *others])
    name = line["name"]
    if line["most_of_others"]:
        name += f" (others: {line['most_of_others']:,} a round)"
    return row([name, *cells, parameters, f"{max(line['errors'].values()):.0e}", share(line["lost"])])


def notes(lines: list[dict[str, Any]]) -> list[str]:
    said = [note for line in lines for note in line["notes"]]
    for line in lines:
        for name, why in line["failed"].items():
            said.append(f"{line['name']}: {name} failed: {why}")
    return [text for note in dict.fromkeys(said) for text in ("", f"Note: {note}.")]


def compiling(lines: list[dict[str, Any]]) -> list[str]:
    """What compiling took, which is in none of the figures above."""
    compiled = [line for line in lines if line["compile_seconds"]]
    if not compiled:
        return []
    names = list(dict.fromkeys(name for line in compiled for name in line["compile_seconds"]))
    text = table_head(["the first step, with its compilation, s", *names])
    for line in compiled:
        times = [line["compile_seconds"].get(name) for name in names]
        text.append(row([line["name"], *("–" if seconds is None else f"{seconds:.0f}" for seconds in times)]))
    return text


def fits(lines: list[dict[str, Any]]) -> list[str]:
    text = table_head(["ms a step", BARE, FIT, "lost"]) if lines else []
    for line in lines:
        bare, fit = (line["results"][name] for name in (BARE, FIT))
        cells = [spread([1e3 * value for value in result["seconds"]]) for result in (bare, fit)]
        text.append(row([line["name"], cells[0], f"{cells[1]} ×{three(fit['times_flowcli'][1])}", share(line["lost"])]))
    return text


def processes(results: dict[str, Any], sums: dict[str, Any]) -> list[str]:
    text = table_head(["whole process, or part of one", "s", "torch imported"]) if results else []
    for name, result in results.items():
        imported = {True: "yes", False: "no"}.get(result.get("torch"), "")
        text.append(row([name, spread(result["seconds"]), imported]))
    for name, parts in sums.items():
        text += [
            "",
            f"{name}: {parts['whole']:.2f} s, {parts['ratio']:.2f} times the sum {parts['sum']:.2f} s of starting",
        ]
        text[-1] += " torch, the fastest reading and writing, and scoring in memory."
    return text


def growing(rows: list[list[str]]) -> list[str]:
    columns = [
        "what grows",
        "in",
        "time",
        "exponent of all, of the last two",
        "memory",
        "exponent of all, of the last two",
    ]
    return [*table_head(columns), *(row(cells) for cells in rows)]


def targets(verdicts: list[dict[str, Any]]) -> list[str]:
    text = table_head(["target", "wanted", "measured", "holds"]) if verdicts else []
    for verdict in verdicts:
        holds = {True: "yes", False: "**no**", None: "not measured"}[verdict["holds"]]
        text.append(row([verdict["name"], verdict["target"], verdict["told"], holds]))
    return text


def spread(values: list[float]) -> str:
    """The median with the quartiles."""
    lower, median, upper = (three(value) for value in values)
    return f"{median} ({lower}–{upper})"


def three(value: float) -> str:
    """Three digits, without an exponent."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:.0f}" if rounded >= 100 else f"{rounded:.3g}"


def share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"
