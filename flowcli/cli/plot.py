"""``flowcli plot``."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from flowcli.cli.arguments import names, sources
from flowcli.cli.given import given_values, wanted_rows
from flowcli.cli.output import check_output, messages, write_bytes, write_text
from flowcli.cli.pictures import free_name, require_libraries, shown_rows
from flowcli.errors import UsageError

if TYPE_CHECKING:
    import typer
    from matplotlib.figure import Figure

    from flowcli.cli.options import Device, Encoding, Force, ModelPath, Seed, Settings
    from flowcli.expression import Expression
    from flowcli.model_file import ModelFile

KINDS = ("pairs", "density", "latents", "training", "steps")
# Which kinds an option is for.
USES = {
    "DATA": ("pairs", "density", "latents"),
    "--columns": ("pairs", "density", "steps"),
    "--given": ("density", "steps"),
    "--where": ("density",),
    "--n": ("pairs", "density", "steps"),
    "--animate": ("steps",),
    "--encoding": ("pairs", "density", "latents"),
    "--set": ("--transform",),
    "--model": KINDS,
}
FORMATS = ("png", "svg", "pdf")
ROWS = {"pairs": 10_000, "density": 20_000, "steps": 2000}


def plot(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KIND] [DATA...]",
            help="pairs (the default), density, latents, training or steps; then the rows to compare with, by default "
            "those that the fit held out, if its files are still there.",
            show_default=False,
        ),
    ] = None,
    model: ModelPath = None,
    transform: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Draw what this transform does; no model is needed.", show_default=False),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The picture: .png, .svg or .pdf, with --animate .gif. By default KIND.png beside the model file, or "
            "NAME.png here, with a number where that is taken.",
            show_default=False,
        ),
    ] = None,
    force: Force = False,
    columns: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Which columns to show; a density has one or two.", show_default=False),
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--given",
            metavar="COLUMN=VALUE",
            help="density, steps: the value of a column, as with sample; may be repeated.",
            show_default=False,
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            metavar="EXPRESSION", help="density: only rows that fulfil this, as with sample.", show_default=False
        ),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option(
            "--n", "-n", min=10, metavar="N", help="How many rows are drawn from the model.", show_default=False
        ),
    ] = None,
    animate: Annotated[bool, typer.Option("--animate", help="steps: a film, as GIF.")] = False,
    settings: Settings = None,
    encoding: Encoding = None,
    seed: Seed = None,
    device: Device = "auto",
) -> None:
    """Draw a picture; write its file's path.

    pairs: data against samples, each column and every two. density: over one column or two, exact
    where the model has no others. latents: are they normal? training: the curves of a fit. steps:
    samples after each transform. --transform NAME: a map, its slope and density, or a warped grid.

    Example: flowcli plot density -m runs/iris --columns petal_length --given species=setosa
    """
    kind, data = _kind(words or [], transform)
    options = {
        "DATA": data,
        "--columns": columns,
        "--given": given,
        "--where": where,
        "--n": n,
        "--animate": animate,
        "--encoding": encoding,
        "--set": settings,
        "--model": model,
    }
    _refuse_idle(kind, {option for option, value in options.items() if value})
    form = _checked_form(output, force, animate)
    files = sources(data) if data else []
    values = given_values(given or [])
    chosen = names(columns)
    if kind == "density" and len(chosen) > 2:
        raise UsageError("--columns: a density is drawn over one column or two")
    if len(set(chosen)) < len(chosen):
        raise UsageError(f"--columns {columns}: names a column twice")
    if transform is not None:
        parameters = _parameters(transform, settings or [])
        require_libraries("plot", "plots", "matplotlib", "scipy")
        _start_torch()
        from flowcli.plotting import transform_picture

        _save(transform_picture(transform, parameters, seed or 0), output or free_name(Path(), transform, form), form)
        return
    from flowcli.runs import resolve_model

    expression = None
    if where is not None:
        from flowcli.expression import Expression

        expression = Expression(where)
    path = resolve_model(model)
    require_libraries("plot", "plots", "matplotlib", "scipy")
    target = output or free_name(path.parent, kind, form)
    if kind == "training":
        from flowcli.plotting import training_picture

        _save(training_picture(path.parent), target, form)
        return
    from flowcli.model_file import read_model_file

    file = read_model_file(path)
    picture = _of_model(kind, file, files, encoding, chosen, values, expression, n, animate, seed or 0, device)
    _save(picture, target, form)


def _kind(words: list[str], transform: str | None) -> tuple[str, list[str]]:
    """The kind of picture, and the words that name data."""
    if transform is not None:
        if words:
            raise UsageError("--transform draws a transform alone: no KIND or DATA with it")
        return "--transform", []
    if words and words[0] in KINDS:
        return words[0], words[1:]
    if words and words[0] != "-" and not Path(words[0]).exists():
        close = difflib.get_close_matches(words[0], KINDS, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"kinds are {', '.join(KINDS)}"
        raise UsageError(f"{words[0]}: no such file, and no kind of picture; {hint}")
    return KINDS[0], words


def _refuse_idle(kind: str, used: set[str]) -> None:
    for option in USES:
        if option in used and kind not in USES[option]:
            raise UsageError(f"{option} is for {', '.join(USES[option])}; {kind} has no use for it")


def _checked_form(output: str | None, force: bool, animate: bool) -> str:
    """The format, by the ending."""
    allowed = ("gif",) if animate else FORMATS
    if output is None:
        return allowed[0]
    if output == "-":
        raise UsageError("-o names a file for the picture; its path is what goes to stdout")
    form = Path(output).suffix.removeprefix(".").lower()
    if form not in allowed:
        what = "a film ends in .gif" if animate else "a picture ends in .png, .svg or .pdf"
        raise UsageError(f"{output}: {what}{'; --animate makes a .gif' if form == 'gif' else ''}")
    check_output(output, force)
    return form


def _parameters(transform: str, settings: list[str]) -> dict[str, Any]:
    """A transform's parameters, checked as those of a config."""
    from flowcli.transforms.registry import entries

    known = entries()
    if transform not in known:
        close = difflib.get_close_matches(transform, known, n=1)
        raise UsageError(
            f"no transform '{transform}'. " + (f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(known)}")
        )
    from flowcli.config.load import load_config
    from flowcli.config.yaml_source import parse_yaml

    options: dict[str, tuple[str, Any]] = {
        "--transform": (
            "flow",
            {
                "base": "uniform" if known[transform].domain == "unit" else "normal",
                "transforms": [{transform: {}}],
            },
        )
    }
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise UsageError(f"--set takes KEY=VALUE, here a parameter of {transform}; got '{setting}'")
        label = f"--set {key}"
        options[label] = (f"flow.transforms.0.{transform}.{key}", parse_yaml(text, label).value if text else None)
    flow = load_config(options=options).flow
    assert flow is not None
    assert flow.transforms is not None
    return flow.transforms[0].parameters.model_dump()


def _start_torch() -> None:
    from flowcli.cli.threads import asked_threads, use_threads

    use_threads(asked_threads(None) or 1)


def _of_model(
    kind: str,
    file: ModelFile,
    files: list[str],
    encoding: str | None,
    columns: list[str],
    values: dict[str, str],
    where: Expression | None,
    n: int | None,
    animate: bool,
    seed: int,
    device: str,
) -> Figure | bytes:
    from flowcli.cli.loading import load_model
    from flowcli.cli.threads import asked_threads

    name = str(file.path.parent if file.path.name == "model.safetensors" else file.path)
    conditional = kind in ("density", "steps")
    wanted = wanted_rows(file, values, where, context_is_given=not conditional, takes_file=False)
    if kind == "steps" and (wanted.set_to or wanted.rejection):
        other = next(name for name in values if name not in wanted.context)
        raise UsageError(f"--given {other}: steps are drawn given context columns only")
    model = load_model(file, device, asked_threads(None) or 1)
    rows = n or ROWS.get(kind, 0)
    if kind == "steps":
        from flowcli.plotting import flow_steps

        found = flow_steps(model, name, columns, rows, wanted.table(), seed)
        return found.film() if animate else found.picture()
    try:
        data = shown_rows(file.header, files, encoding)
    except UsageError as error:
        if kind != "density":
            raise
        messages.detail(f"without data: {error}")
        data = None
    if kind == "latents":
        from flowcli.plotting import latents_picture

        assert data is not None
        return latents_picture(model, name, data, messages.note)
    if kind == "pairs":
        from flowcli.plotting import pairs_picture, shown_by_default

        assert data is not None
        shown = shown_by_default(file.header.columns)
        left = [c.name for c in file.header.columns if c.kind not in ("constant", "identifier") and c not in shown]
        if left and not columns:
            messages.note(f"not shown: {', '.join(map(repr, left))}; --columns chooses")
        return pairs_picture(model, name, data, columns, rows, seed)
    from flowcli.plotting import density_columns, density_picture, rows_that_fit

    over = density_columns(file.header.columns, columns)
    if data is not None:
        data = rows_that_fit(data, file.header.columns, values, where)
        data = data if len(data.table) else None
    conditioned = bool(wanted.set_to or wanted.rejection)
    picture = density_picture(
        model,
        name,
        over,
        data,
        lambda n: wanted.draw(model, n, wanted.table(), seed),
        rows,
        wanted.table(),
        conditioned,
    )
    if wanted.rejection is not None:
        messages.note(wanted.rejection.summary())
    return picture


def _save(picture: Figure | bytes, target: str, form: str) -> None:
    if not isinstance(picture, bytes):
        from flowcli.plots.picture import picture_bytes

        picture = picture_bytes(picture, form)
    write_bytes(picture, target)
    write_text(target)
