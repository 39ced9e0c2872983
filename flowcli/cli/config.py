"""``flowcli config``."""

from __future__ import annotations

from typing import Annotated

import typer

from flowcli.cli import completion
from flowcli.cli.command import command
from flowcli.cli.options import Settings
from flowcli.cli.output import messages, write_json, write_text

app = typer.Typer(help="List, check, resolve configs; their schema.", no_args_is_help=True, rich_markup_mode=None)

Named = Annotated[
    str | None,
    typer.Argument(
        metavar="[CONFIG]",
        help="A config file or a preset's name; by default the built-in defaults.",
        show_default=False,
        autocompletion=completion.configs,
    ),
]


@app.command("list")
@command
def list_presets() -> None:
    """List the presets that -c can name.

    Example: flowcli config list
    """
    from flowcli.cli.describe import aligned
    from flowcli.config.presets import preset_names, preset_path

    rows = []
    for name in preset_names():
        first = preset_path(name).read_text(encoding="utf-8").splitlines()[0]
        rows.append((name, first.lstrip("# ")))
    write_text("\n".join(aligned(rows)))


@app.command("check")
@command
def check(config: Named = None, settings: Settings = None) -> None:
    """Check a config; all mistakes are told at once, each with file, line and column.

    Example: flowcli config check flow.yaml
    """
    from flowcli.config.load import load_config

    load_config(config, settings or [])
    messages.note(f"{config or 'defaults'}: good")


@app.command("show")
@command
def show(config: Named = None, settings: Settings = None) -> None:
    """Write a config with every key and default filled in; reading that back gives the same config.

    Example: flowcli config show maf -s train.epochs=100
    """
    from flowcli.config.load import dump_config, load_config

    write_text(dump_config(load_config(config, settings or [])).rstrip("\n"))


@app.command("schema")
@command
def schema() -> None:
    """Write the JSON Schema of a config, for editors.

    Example: flowcli config schema > flow.schema.json
    """
    from flowcli.config.schema import Config

    write_json({"$schema": "https://json-schema.org/draft/2020-12/schema", **Config.model_json_schema()})
