"""The model card: what a model is, for people, as the ``README.md`` of its run folder (Mitchell et al. 2019)."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowcli.cli.describe import COLUMNS_SHOWN, flow_lines, given_options
from flowcli.printable import printable

if TYPE_CHECKING:
    from flowcli.model_file import ModelHeader
    from flowcli.tables.columns import Column

LONGEST_TEXT = 200
# What Markdown takes for its own within a line (an underscore between letters it does not), and where one begins.
_WITHIN = re.compile(r"[\\`*{}\[\]<>|~$&]|(?<![^\W_])_|_(?![^\W_])|:(?=//)")
_AT_THE_START = re.compile(r"^(\d*)([-+#=.):])")

NUMBERS_MEAN = """\
The figures are mean log-likelihoods per row, in nats: the logarithm of the density that the model gives to rows it has
not seen, in the columns' own units. Higher is better. Its size alone says little, as it changes with the units: compare
it with that of other models on the same rows, like the Gaussian below. A difference of 1 means that rows are 2.7 times
as likely."""

LIMITS = """\
- Scores of rows unlike the data are extrapolations; beyond a column's bounds, and for labels that training had not,
  the density is zero by construction. Nothing is known of other populations, later times or other ways of measuring.
- Samples resemble the data, with its gaps and biases. They are not the data: check what matters before they stand in
  for it.
- The folder holds no training row, but weights, the columns' names, labels, scales and bounds, and the numbers of the
  test rows with their scores. That is no guarantee of privacy: a model of few rows can give away who was among them."""


def card(header: ModelHeader) -> str:
    """The card of a model; what comes from the data is escaped in it."""
    parts = [
        _front_matter(header),
        "# A probability density of " + _plain(data_name(header)),
        _summary(header),
        "## Data",
        _data(header),
        "## Model",
        _model(header),
        "## How well it does",
        NUMBERS_MEAN,
        _figures(header.metrics),
        "## How it was made",
        _made(header),
        "## How to use it",
        _use(header),
        "## Limits",
        LIMITS,
    ]
    return "\n\n".join(parts) + "\n"


def _plain(text: str) -> str:
    """Any text as Markdown that shows just that, in one line."""
    return _AT_THE_START.sub(r"\1\\\2", _WITHIN.sub(r"\\\g<0>", printable(text, LONGEST_TEXT)))


def _code(text: str, language: str = "") -> str:
    """A block of code that nothing in it can end."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def file_names(header: ModelHeader) -> list[str]:
    """The data's files, without their folders, which are nobody's business."""
    files = header.data.get("files") or []
    return ["standard input" if file == "-" else Path(file).name for file in files]


def data_name(header: ModelHeader) -> str:
    """What the model is of."""
    return ", ".join(file_names(header)[:3]) or "a table"


def _front_matter(header: ModelHeader) -> str:
    """What model hubs read."""
    import yaml

    test = header.metrics["test_log_likelihood"]
    told: dict[str, Any] = {
        "library_name": "flowcli",
        "tags": ["density-estimation", "normalizing-flows", "tabular", "synthetic-data", "anomaly-detection"],
    }
    if test and test["mean"] is not None:
        name = printable(data_name(header), LONGEST_TEXT)
        metrics = [{"type": "log_likelihood", "name": "test log-likelihood (nats per row)", "value": test["mean"]}]
        result = {
            "task": {"type": "density-estimation", "name": "Density estimation"},
            "dataset": {"type": "tabular", "name": name},
            "metrics": metrics,
        }
        told["model-index"] = [{"name": f"density of {name}", "results": [result]}]
    written = yaml.safe_dump(told, sort_keys=False, allow_unicode=True)
    return f"---\n{written}# license: yours to choose, like mit or cc-by-4.0\n---"


def _summary(header: ModelHeader) -> str:
    given = [_plain(column.name) for column in header.columns if column.context]
    what = f"the other columns given {_listed(given)}" if given else "all its columns together"
    return (
        f"A model of {what}, fitted with flowcli {_plain(header.versions.get('flowcli', ''))}: it scores rows (which "
        "are surprising?), draws new ones, and takes rows to latents and back."
    )


def _listed(words: Sequence[str]) -> str:
    more = f" and {len(words) - COLUMNS_SHOWN:,} more" if len(words) > COLUMNS_SHOWN else ""
    return ", ".join(words[:COLUMNS_SHOWN]) + more


def _data(header: ModelHeader) -> str:
    rows = header.metrics["rows"]
    lines = [
        f"{rows['training']:,} training rows, {rows['validation']:,} for validation and {rows['test']:,} for the test."
    ]
    digests = header.data.get("sha256") or []
    for name, digest in zip(file_names(header), digests, strict=False):
        lines.append(f"- {_plain(name)}" + (f": SHA-256 `{_plain(digest)}`" if digest else ""))
    shown = [column for column in header.columns if column.kind != "identifier"]
    table = _table(["column", "kind", "what is known"], [_row(column) for column in shown[:COLUMNS_SHOWN]])
    left_out = [_plain(column.name) for column in header.columns if column.kind == "identifier"]
    left_out += [_plain(name) for name in header.config.data.drop]
    parts = ["\n".join(lines[:1]), "\n".join(lines[1:]), table]
    if len(shown) > COLUMNS_SHOWN:
        parts.append(f"And {len(shown) - COLUMNS_SHOWN:,} more columns.")
    if left_out:
        parts.append(f"Left out: {_listed(left_out)}.")
    return "\n\n".join(filter(None, parts))


def known_words(column: Column) -> str:
    """What a person should know of a column besides its nature."""
    known = []
    if column.context:
        known.append("given, not modelled")
    if column.kind == "label":
        known.append(f"{len(column.categories):,} labels")
    elif column.kind == "constant":
        known.append("always the same; no part of the density")
    elif column.lower is not None or column.upper is not None:
        known.append("zero density beyond its bounds")
    if column.missing:
        known.append("may be missing")
    if column.fill is not None:
        known.append("missing cells are filled")
    return "; ".join(known)


def _row(column: Column) -> list[str]:
    return [_plain(column.name), _plain(column.nature), known_words(column)]


def architecture_words(header: ModelHeader) -> str:
    """What kind of density it is, and how many parameters it has."""
    flow = header.config.flow
    assert flow is not None  # a trained model has one
    count = f"{header.metrics['parameters']:,} parameters"
    if flow.mixture is not None:
        copies = sum(member.copies for member in flow.mixture)
        return f"A mixture of {copies} densities of whole rows, weighted by how likely they find held-out rows, {count}"
    if flow.factors is not None:
        return f"A product of {len(flow.factors)} factors, each a density of its columns given others, {count}"
    return f"A normalizing flow, {count}"


MEMBERS_HEAD = ("copies", "member", "held-out rows, alone", "weight of all copies")


def member_rows(metrics: dict[str, Any]) -> list[list[str]]:
    """Of a mixture, a row for each kind of member, as :data:`MEMBERS_HEAD` names the cells."""
    return [
        [
            str(entry["copies"]),
            entry["member"],
            "" if entry["held_out_log_likelihood"] is None else f"{entry['held_out_log_likelihood']:.3f}",
            f"{entry['weight']:.3f}",
        ]
        for entry in metrics.get("mixture") or []
    ]


def _model(header: ModelHeader) -> str:
    parts = [
        f"{architecture_words(header)}. From the base distribution to the data:",
        _code("\n".join(printable(line, LONGEST_TEXT) for line in flow_lines(header.config, header.columns))),
    ]
    members = member_rows(header.metrics)
    if members:
        parts.append(_table(MEMBERS_HEAD, [[copies, _plain(member), *rest] for copies, member, *rest in members]))
    return "\n\n".join(parts)


LIKELIHOODS_HEAD = ("", "log-likelihood", "standard error", "rows", "bits per column")


def likelihood_rows(metrics: dict[str, Any]) -> list[list[str]]:
    """The fit's own figures, as :data:`LIKELIHOODS_HEAD` names the cells; none where no rows were kept for a test."""
    rows = [
        (name, metrics.get(key) if key else metrics["baselines"].get("gaussian"))
        for name, key in (
            ("test rows", "test_log_likelihood"),
            ("test rows, full-covariance Gaussian", ""),
            ("validation rows", "validation_log_likelihood"),
        )
    ]
    return [[name, *summary_cells(summary)] for name, summary in rows if summary]


def _figures(metrics: dict[str, Any]) -> str:
    rows = likelihood_rows(metrics)
    return _table(LIKELIHOODS_HEAD, rows) if rows else "No rows were kept for a test."


def summary_cells(summary: dict[str, Any]) -> list[str]:
    """A summary of log-likelihoods as cells of a table: mean, standard error, rows, bits per column."""
    if summary["impossible_rows"]:
        return [f"-inf: {summary['impossible_rows']:,} rows have probability zero", "", f"{summary['n']:,}", ""]
    error = "" if summary["standard_error"] is None else f"{summary['standard_error']:.3f}"
    return [f"{summary['mean']:.3f}", error, f"{summary['n']:,}", f"{summary['bits_per_dim']:.3f}"]


def fit_command(header: ModelHeader) -> str:
    """What fits the same model again, in the run folder, with the data's files beside."""
    known = "-" not in (header.data.get("files") or ["-"])
    files = " ".join(map(shlex.quote, file_names(header))) if known else "DATA"
    return f"flowcli fit {files} -c config.yaml"


def _made(header: ModelHeader) -> str:
    metrics = header.metrics
    versions = ", ".join(f"{_plain(name)} {_plain(version)}" for name, version in header.versions.items())
    epochs = f"{metrics['epochs']:,} epoch{'' if metrics['epochs'] == 1 else 's'}"
    how = (
        f"On {_plain(header.created)}, in {epochs} ({metrics['seconds']:,.0f} s), with seed {header.config.seed}, by "
        f"{versions}. `config.yaml` has every setting; the same model comes again from:"
    )
    return f"{how}\n\n{_code(fit_command(header), 'bash')}"


def usage(header: ModelHeader) -> tuple[str, str]:
    """How the model is used in its folder: from the shell, and from Python."""
    given = given_options(header.columns)
    context = [column.name for column in header.columns if column.context and column.kind != "constant"]
    drawn = f"model.sample(1000, given={dict.fromkeys(context, '...')!r})" if context else "model.sample(1000)"
    shell = f"flowcli score new.csv -m .\nflowcli sample --n 1000 -m .{given}\nflowcli show ."
    python = (
        "import flowcli\n\n"
        'model = flowcli.load("model.safetensors")  # all that is needed\n'
        'scores = model.log_prob("new.csv")  # nats, one for each row\n'
        f"rows = {drawn}"
    )
    return shell, python


def _use(header: ModelHeader) -> str:
    shell, python = usage(header)
    return f"In this folder:\n\n{_code(shell, 'bash')}\n\nFrom Python:\n\n{_code(python, 'python')}"
