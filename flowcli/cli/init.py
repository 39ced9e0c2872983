"""``flowcli init``."""

from __future__ import annotations

from typing import Annotated

import typer

from flowcli.cli.output import write_text


def init(
    data: Annotated[
        str | None,
        typer.Argument(metavar="[DATA]", help="The table to write a config for.", show_default=False),
    ] = None,
) -> None:
    """Write a commented config to start from.

    It has every key with its default, and the flow sized for the table.

    Example: flowcli init data.csv > flow.yaml
    """
    from flowcli.cli.options import sources

    names = sources([data]) if data else []
    from flowcli.config.template import config_template

    if not names:
        write_text(config_template([], None))
        return
    from flowcli.cli.describe import column_lines
    from flowcli.config.schema import DataConfig
    from flowcli.flows.default import default_flow
    from flowcli.tables.columns import infer_columns
    from flowcli.tables.read import read_table
    from flowcli.tables.split import split_rows

    table = read_table(names)
    columns = infer_columns(table)
    comments = [f"{names[0]}: {len(table):,} rows", *column_lines(columns, measured=False)]
    shares = DataConfig()
    training, _, _ = split_rows(len(table), float(shares.validation), float(shares.test), 0)
    numbers = [column for column in columns if column.kind == "number"]
    write_text(config_template(comments, default_flow(len(training), len(numbers))))
