"""The page of a report, as HTML in one file that asks the network for nothing."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowcli.cli.card import (
    LIKELIHOODS_HEAD,
    LIMITS,
    MEMBERS_HEAD,
    NUMBERS_MEAN,
    architecture_words,
    data_name,
    file_names,
    fit_command,
    known_words,
    likelihood_rows,
    member_rows,
    summary_cells,
    usage,
)
from flowcli.cli.describe import COLUMNS_SHOWN, flow_lines
from flowcli.cli.evaluate import ahead_words, baseline_name, check_lines
from flowcli.printable import printable

if TYPE_CHECKING:
    from flowcli.evaluation.check import Verdict
    from flowcli.model_file import ModelHeader
    from flowcli.plots.context_explorer import Exploration
    from flowcli.reporting import Ranking, Report

FOLDER = Path(__file__).parent
LONGEST_TEXT, LONGEST_CELL = 200, 40


def page(header: ModelHeader, name: str, files: list[str], found: Report) -> str:
    """The page; every text in it that comes from the data is escaped.

    Args:
        name: the model's.
        files: the rows that were named, without their folders.
    """
    import jinja2

    from flowcli.plots import context_explorer, interactive, sinh_arcsinh_explorer

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalized,
    )
    facts = {
        "family": {"plots": sinh_arcsinh_explorer.plots()},
        "context": found.exploration and _explorer(found.exploration, context_explorer.plots(found.exploration)),
    }
    scripts = [interactive.script(), (FOLDER / "report_page.js").read_text(encoding="utf-8")]
    evaluation = found.evaluation
    return environment.get_template("report_page.html").render(
        policy=_policy(scripts),
        scripts=[_raw(script) for script in scripts],
        style=_raw((FOLDER / "report_page.css").read_text(encoding="utf-8")),
        # Within a script nothing but its end is special.
        facts=_raw(json.dumps(facts, separators=(",", ":")).replace("<", "\\u003c")),
        title=f"A density of {data_name(header)}",
        name=name,
        header=header,
        given=_listed(c.name for c in header.columns if c.context and c.kind not in ("constant", "identifier")),
        dropped=_listed(header.config.data.drop),
        not_shown=_listed(found.exploration.not_shown if found.exploration else ()),
        key_figures=_key_figures(header, found),
        files=list(zip(file_names(header), header.data.get("sha256") or [], strict=False)),
        columns=[_column(column) for column in header.columns[:COLUMNS_SHOWN]],
        columns_left=max(0, len(header.columns) - COLUMNS_SHOWN),
        architecture=architecture_words(header),
        flow=[printable(line, LONGEST_TEXT) for line in flow_lines(header.config, header.columns)],
        members_head=MEMBERS_HEAD,
        members=member_rows(header.metrics),
        found=found,
        pictures={section: base64.b64encode(png).decode() for section, png in found.pictures.items()},
        numbers_mean=NUMBERS_MEAN.replace("\n", " ").replace("like the Gaussian below", "like those below"),
        newline=_raw("\n"),
        likelihoods_head=LIKELIHOODS_HEAD,
        likelihoods=likelihood_rows(header.metrics) if evaluation is None else _likelihoods(found),
        evaluated_on=f"{evaluation.likelihood['n']:,} {_rows_of(files)}" if evaluation else "",
        checks=_checks(evaluation.verdicts) if evaluation else [],
        failed=sum(verdict.failed for verdict in evaluation.verdicts) if evaluation else 0,
        ranking=found.ranking and _ranking(found.ranking),
        exploration=found.exploration,
        parameters=sinh_arcsinh_explorer.PARAMETERS,
        has_family="sinh_arcsinh" in json.dumps(header.config.model_dump(mode="json")["flow"]),
        versions=", ".join(f"{package} {version}" for package, version in header.versions.items()),
        fit=fit_command(header),
        config=_config(header).splitlines(),
        usage=[text.splitlines() for text in usage(header)],
        limits=[line.removeprefix("- ") for line in LIMITS.replace("\n  ", " ").splitlines()],
    )


def _finalized(value: Any) -> Any:
    """What is written of a value: of a text nothing that an editor or a terminal would obey."""
    return printable(value) if type(value) is str else value


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(printable, names))


def _raw(text: str) -> Any:
    """A text that is HTML already."""
    from markupsafe import Markup

    return Markup(text)


def _policy(scripts: list[str]) -> str:
    """The page's content security policy: these scripts, styles and pictures that are in it, and nothing else."""
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    rest = "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    return f"default-src 'none'; script-src {hashes}; {rest}"


def _explorer(found: Exploration, plots: list[dict[str, Any]]) -> dict[str, Any]:
    sliders = [{"texts": [printable(text) for text in slider.texts]} for slider in found.sliders]
    return {"sliders": sliders, "plots": plots}


def _key_figures(header: ModelHeader, found: Report) -> list[tuple[str, str]]:
    """Numbers that stand above all: what they are, and each as words."""
    metrics, evaluation = header.metrics, found.evaluation
    test = metrics["test_log_likelihood"] if evaluation is None else evaluation.likelihood
    figures = []
    if test and test["mean"] is not None:
        mean, error, *_ = summary_cells(test)
        figures.append(("nats per row it has not seen", f"{mean} ± {error}" if error else mean))
    gaussian = evaluation.baselines.get("gaussian") if evaluation else None
    if gaussian and gaussian["difference"]["mean"] is not None:
        figures.append(("ahead of a Gaussian", ahead_words(gaussian["difference"]).removeprefix("model ahead by ")))
    modelled = sum(not c.context and c.kind not in ("constant", "identifier") for c in header.columns)
    figures.append(("training rows", f"{metrics['rows']['training']:,}"))
    figures.append(("column modelled" if modelled == 1 else "columns modelled", f"{modelled:,}"))
    return [(what, words.replace("-", "−")) for what, words in figures]


def _column(column: Any) -> tuple[str, str, str, str]:
    nature = f"{column.nature}, in {column.unit}" if column.unit else column.nature
    left_out = "left out" if column.kind == "identifier" else ""
    return column.name, nature, "; ".join(filter(None, (known_words(column), left_out))), column.reason


def _rows_of(files: list[str]) -> str:
    return f"rows of {', '.join(files)}" if files else "test rows"


def _likelihoods(found: Report) -> list[list[str]]:
    assert found.evaluation is not None
    rows = [["model", *summary_cells(found.evaluation.likelihood), ""]]
    for name, summary in found.evaluation.baselines.items():
        ahead = ahead_words(summary["difference"]).removeprefix("model ahead by ")
        rows.append([baseline_name(name, summary), *summary_cells(summary), ahead])
    return rows


def _checks(verdicts: list[Verdict]) -> list[tuple[str, ...]]:
    return [tuple(line) for line in check_lines(verdicts)] if verdicts else []


def _ranking(ranking: Ranking) -> dict[str, Any]:
    def rows(part: Any) -> list[Any]:
        return [
            (row.place, f"{row.log_prob:.3f}".replace("-", "−"), [_cell(cell) for cell in row.cells]) for row in part
        ]

    return {"least": rows(ranking.least), "most": rows(ranking.most)}


def _cell(text: str | None) -> str:
    return "" if text is None else printable(text, LONGEST_CELL)


def _config(header: ModelHeader) -> str:
    """The config as the run folder has it, with files by their names alone."""
    from flowcli.config.load import dump_config

    data = header.config.data
    parts = {part: Path(v).name for part in ("validation", "test") if isinstance(v := getattr(data, part), str)}
    return dump_config(header.config.model_copy(update={"data": data.model_copy(update=parts)}))
