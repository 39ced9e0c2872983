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
    import numpy as np

    from flowcli.cli.describe import column_lines
    from flowcli.flows.default import default_flow
    from flowcli.tables.infer import infer_columns
    from flowcli.tables.read import read_table
    from flowcli.tables.split import TRAINING, Split

    table = read_table(names, data_config.encoding)
    columns = infer_columns(table)
    comments = [f"{names[0]}: {len(table):,} rows", *column_lines(columns, measured=False)]
    split = Split(float(data_config.validation), float(data_config.test), 0, len(table))
    training = int((split.parts(np.arange(len(table))) == TRAINING).sum())
    numbers = [column for column in columns if column.numeric]
    write_text(config_template(comments, default_flow(training, len(numbers)), data_config))
