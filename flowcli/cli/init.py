"""``flowcli init``."""

from __future__ import annotations

from typing import Annotated

import typer

from flowcli.cli.options import Encoding
from flowcli.cli.output import write_text


def init(
    data: Annotated[
        str | None,
        typer.Argument(metavar="[DATA]", help="The table to write a config for.", show_default=False),
    ] = None,
    encoding: Encoding = None,
) -> None:
    """Write a commented config to start from.

    It has every key with its default, and the flow sized for the table.

    Example: flowcli init data.csv > flow.yaml
    """
    from flowcli.cli.arguments import sources

    names = sources([data]) if data else []
    from flowcli.config.schema import DataConfig
    from flowcli.config.template import config_template

    data_config = DataConfig(encoding=encoding or "utf-8")
    if not names:
        write_text(config_template([], None, data_config))
        return
    from contextlib import closing

    from flowcli.cli.describe import column_lines
    from flowcli.config.schema import Config
    from flowcli.flows.default import with_default, with_split
    from flowcli.preparing import prepare, survey_for
    from flowcli.tables.source import InFiles

    with closing(InFiles(names, data_config.encoding)) as source:
        surveyed = survey_for(source, Config(data=data_config))
        config = with_split(Config(data=data_config), surveyed.rows)
        prepared = prepare(source, surveyed, config, lambda note: None, lambda *counts: None)
    flow = with_default(None, len(prepared.training), prepared.encoder.layout)
    comments = [f"{names[0]}: {surveyed.rows:,} rows", *column_lines(prepared.encoder.columns)]
    write_text(config_template(comments, flow, data_config))
