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
    if "mixture" in flow:
        return ["  mixture:", *(line for member in flow["mixture"] for line in _member(member))]
    return _part(flow, "  ")


def _member(member: dict[str, Any]) -> list[str]:
    first, *rest = _part(member, "    ")
    own = [f"    {key}: {_inline(member[key])}" for key in ("copies", "epochs")]
    return [f"  - {own[0].strip()}", own[1], first, *rest]


def _part(part: dict[str, Any], indent: str) -> list[str]:
    lines = [f"{indent}base: {_inline(part['base'])}", f"{indent}repeat: {part['repeat']}"]
    lines += [f"{indent}transforms:" if part["transforms"] else f"{indent}transforms: []"]
    for transform in part["transforms"]:
        (name, parameters), *_ = transform.items()
        lines.append(f"{indent}- {name}: {_inline(parameters)}" if parameters else f"{indent}- {name}")
    return [*lines, *(f"{indent}{key}: {_inline(part[key])}" for key in ("heavy_tails", "labels", "ordinals"))]
