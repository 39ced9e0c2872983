"""A commented config to start from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from flowcli.config.load import dump_config
from flowcli.config.schema import Config, DataConfig, FlowConfig, Section, TrainConfig


def config_template(comments: Sequence[str], flow: FlowConfig | None, data: DataConfig) -> str:
    """YAML with every key, its default (or its value in ``data``) and what it means; ``comments`` go on top.

    Without ``flow`` the architecture is left out, so that it is chosen for the table.
    """
    lines = [f"# {' '.join(comment.splitlines())}".rstrip() for comment in comments]
    if flow is None:
        lines += ["# flow: left out, it is chosen for the table; 'flowcli config show maf' shows one in full"]
    else:
        dumped = yaml.safe_load(dump_config(Config(flow=flow)))["flow"]
        lines += ["flow:  # from base to data; 'flowcli transforms' lists what can stand here"]
        lines += _block(dumped)
    lines += _section("train", TrainConfig())
    lines += _section("data", data)
    lines += [f"seed: {Config().seed}  # {Config.model_fields['seed'].description}"]
    return "\n".join(lines)


def _section(name: str, section: Section) -> list[str]:
    lines = [f"{name}:  # {type(section).__doc__}".rstrip(".")]
    for key, field in type(section).model_fields.items():
        lines.append(f"  {key}: {_inline(getattr(section, key))}  # {field.description}")
    return lines


def _inline(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6).splitlines()[0]


def _block(flow: dict[str, Any]) -> list[str]:
    lines = [f"  base: {_inline(flow['base'])}", f"  repeat: {flow['repeat']}", "  transforms:"]
    for transform in flow["transforms"]:
        (name, parameters), *_ = transform.items()
        lines.append(f"  - {name}: {_inline(parameters)}" if parameters else f"  - {name}")
    return [*lines, *(f"  {key}: {_inline(flow[key])}" for key in ("labels", "ordinals"))]
