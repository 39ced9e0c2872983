"""``flowcli report``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from flowcli.cli.arguments import sources
from flowcli.cli.evaluate import trained_on
from flowcli.cli.output import check_output, messages, write_bytes, write_text
from flowcli.cli.pictures import free_name, require_libraries, shown_rows
from flowcli.errors import DataError, UsageError

if TYPE_CHECKING:
    import typer

    from flowcli.cli.options import Device, Encoding, Force, ModelPath, Seed
    from flowcli.flows.rows import Rows
    from flowcli.model import Model
    from flowcli.model_file import ModelFile
    from flowcli.plotting import Data
    from flowcli.preprocess.encoder import Encoded


def report(
    data: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[DATA]...",
            help="Rows that the model has not seen; by default those that the fit held out, if its files are still "
            "there. '-' is stdin.",
            show_default=False,
        ),
    ] = None,
    model: ModelPath = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The page, .html; by default report.html beside the model file, with a number where that is taken.",
            show_default=False,
        ),
    ] = None,
    force: Force = False,
    encoding: Encoding = None,
    seed: Seed = None,
    device: Device = "auto",
) -> None:
    """Write a page on a model, for a browser; write its file's path.

    What the data are, what the model is, how training went, data against samples, latents, the least and the most
    likely rows, the comparison with baselines, how to make it again; of a conditional model, densities that move with
    its context. All of it is in the one file, which asks the network for nothing.

    Example: flowcli report -m runs/iris -o iris.html
    """
    if output is not None:
        _check_page(output, force)
    files = sources(data) if data else []
    from flowcli.runs import resolve_model

    path = resolve_model(model)
    require_libraries("report", "report", "bokeh", "jinja2", "matplotlib", "scipy")
    from flowcli.model_file import read_model_file

    file = read_model_file(path)
    from flowcli.cli.loading import load_model
    from flowcli.cli.threads import asked_threads

    loaded = load_model(file, device, asked_threads(None) or 1)
    from flowcli.cli.report_page import page
    from flowcli.reporting import report as reported

    shown: Data | None = None
    try:
        shown = shown_rows(file.header, files, encoding)
    except UsageError as error:
        if files:
            raise
        without = str(error)
    if shown is not None and not len(shown.table):
        raise DataError(f"{', '.join(files)}: there are no rows to show")
    name = path.parent.resolve().name if path.name == "model.safetensors" else path.name
    found = reported(
        loaded, name, path.parent, shown, bool(files), lambda: _test(loaded, shown, bool(files)), seed or 0
    )
    if shown is None:
        sections = ["pairs", "latents", "rows", *(["explorer"] if loaded.encoder.context else [])]
        found.left_out |= dict.fromkeys(sections, without)
    elsewhere = _folders(file, files)
    for known in trained_on(files, file.header):
        messages.note(f"WARNING: {known}")
        found.note("figures", _without(elsewhere, f"{known}."))
    for section, reason in found.left_out.items():
        found.left_out[section] = _without(elsewhere, reason)
        messages.note(f"left out: {section}: {reason}")
    target = output or free_name(path.parent, "report", "html")
    write_bytes(page(file.header, name, [Path(each).name for each in files], found).encode(), target)
    write_text(target)


def _check_page(output: str, force: bool) -> None:
    if output == "-":
        raise UsageError("-o names a file for the page; its path is what goes to stdout")
    if Path(output).suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{output}: a page ends in .html")
    check_output(output, force)


def _folders(file: ModelFile, files: list[str]) -> list[str]:
    """Paths that a message may name, the longest first; where things are is nobody's business but the user's."""
    data = file.header.config.data
    held_out = [part for part in (data.validation, data.test) if isinstance(part, str)]
    found = {*files, *(file.header.data.get("files") or []), *held_out, str(file.path.parent)}
    return sorted((path for path in found if Path(path).name not in ("", path)), key=len, reverse=True)


def _without(paths: list[str], text: str) -> str:
    """A text with the paths' last parts in their places."""
    for path in paths:
        text = text.replace(path, Path(path).name)
    return text


def _test(model: Model, shown: Data | None, named: bool) -> tuple[Iterable[Encoded], Rows | None]:
    """The rows to evaluate the model on, those named or its own test rows, and its training rows for baselines."""
    from flowcli.trained_on import prepared_again

    again = None
    try:
        again = prepared_again(model.header)
    except DataError as error:
        if not named:
            raise DataError(f"the model's own test rows are not at hand; name DATA: {error}") from None
    if named:
        assert shown is not None
        return [model.encoded(shown.table)], None if again is None else again.sample
    assert again is not None
    if not len(again.test.numbers):
        raise UsageError("the model was fitted without test rows: name DATA that it has not seen")
    return [again.test], again.sample
