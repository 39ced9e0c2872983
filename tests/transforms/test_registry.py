"""The registry: entries of other packages, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import torch

from flowcli.errors import ConfigError, FlowcliError
from flowcli.transforms import registry
from flowcli.transforms.bijection import Bijection
from flowcli.transforms.catalogue import ENTRIES

CATALOGUE = """
from flowcli.transforms.catalogue import Entry, Parameter

DOUBLE = Entry(
    name={name!r},
    summary="a toy",
    formula="x = factor z",
    reference="none",
    builder="toy_builders:double",
    parameters=(Parameter("factor", float, 2.0, "the factor", 0.1, 10.0),),
    starts_at_identity=False,
)
SOMETHING_ELSE = 3
"""
BUILDERS = """
import torch
from flowcli.transforms.elementwise import affine


def double(features, context_features, *, factor):
    transform = affine(features, context_features, hidden=[8], activation="relu", log_scale_bound=1e6)
    torch.nn.init.constant_(transform.free.data[:, 1], torch.log(torch.tensor(factor)).item())
    return transform
"""


@pytest.fixture
def fresh_entries() -> Iterator[None]:
    registry.entries.cache_clear()
    yield
    registry.entries.cache_clear()


def install(folder: Path, name: str, target: str = "toy_catalogue:DOUBLE") -> None:
    """A distribution as an installer leaves it."""
    information = folder / "toy_transforms-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-transforms\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[flowcli.transforms]\ntoy = {target}\n")
    (folder / "toy_catalogue.py").write_text(CATALOGUE.format(name=name))
    (folder / "toy_builders.py").write_text(BUILDERS)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_entries: None) -> Iterator[Path]:
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for module in ("toy_catalogue", "toy_builders"):
        sys.modules.pop(module, None)


def python(code: str, path: Path | None = None) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **({"PYTHONPATH": str(path)} if path else {})}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_package_adds_a_transform(site: Path) -> None:
    install(site, "toy_double")
    found = registry.entries()
    assert set(found) == {entry.name for entry in ENTRIES} | {"toy_double"}
    assert list(found) == sorted(found)
    transform = registry.build("toy_double", 2, 0, {"factor": 4.0})
    assert isinstance(transform, Bijection)
    x, log_det = transform.forward_and_log_det(torch.tensor([1.0, -2.0]))
    torch.testing.assert_close(x, torch.tensor([4.0, -8.0]))
    torch.testing.assert_close(log_det, torch.log(torch.tensor(16.0)))


def test_a_packages_transform_is_a_key_of_the_config(tmp_path: Path) -> None:
    install(tmp_path, "toy_double")
    code = """if True:
        import json
        from flowcli.config.schema import Config
        from flowcli.flows.build import build_density
        config = Config.model_validate({"flow": {"transforms": [{"toy_double": {"factor": 3.0}}]}})
        print(json.dumps(config.model_dump()["flow"]["transforms"]))
        from flowcli.flows.layout import Layout
        density = build_density(config.flow, Layout(numbers=("a", "b")))
        import torch
        print(density.factors[0].flow.decode(torch.ones(1, 2)).tolist())
    """
    transforms, decoded = map(json.loads, python(code, tmp_path).splitlines())
    assert transforms == [{"toy_double": {"factor": 3.0}}]
    assert decoded[0] == pytest.approx([3.0, 3.0], rel=1e-4)


def test_a_name_in_use_is_refused(site: Path) -> None:
    install(site, "spline")
    with pytest.raises(FlowcliError, match="'spline' is taken"):
        registry.entries()


def test_what_is_no_entry_is_refused(site: Path) -> None:
    install(site, "toy_double", target="toy_catalogue:SOMETHING_ELSE")
    with pytest.raises(FlowcliError, match=r"toy_catalogue:SOMETHING_ELSE.*not a transform's Entry"):
        registry.entries()


@pytest.mark.parametrize("target", ["toy_catalogue:MISSING", "no_such_module_here:ENTRY"])
def test_a_broken_package_is_named(site: Path, target: str) -> None:
    install(site, "toy_double", target=target)
    with pytest.raises(FlowcliError, match=target):
        registry.entries()


def test_too_few_columns_are_refused() -> None:
    needing = [entry for entry in registry.entries().values() if entry.min_features > 1]
    assert needing
    for entry in needing:
        parameters = {parameter.name: parameter.default for parameter in entry.parameters}
        with pytest.raises(ConfigError, match=f"{entry.name} needs at least 2 .*there is 1") as refused:
            registry.build(entry.name, 1, 0, parameters)
        assert "\n" not in str(refused.value)
        assert refused.value.exit_code == 2


def test_context_stays_away_from_what_takes_none() -> None:
    for entry in registry.entries().values():
        if not entry.takes_context:
            parameters = {parameter.name: parameter.default for parameter in entry.parameters}
            transform = registry.build(entry.name, 3, 2, parameters)
            x, _ = transform.forward_and_log_det(torch.zeros(4, 3), torch.zeros(4, 2))
            assert x.shape == (4, 3)


def test_builders_are_where_the_entries_say() -> None:
    for entry in registry.entries().values():
        module, _, builder = entry.builder.partition(":")
        assert callable(getattr(import_module(module), builder))


def test_the_catalogue_does_without_torch() -> None:
    code = (
        "import sys; import flowcli.transforms.registry as r; r.entries(); "
        "print([m for m in ('torch', 'pyro', 'numpy', 'pandas') if m in sys.modules])"
    )
    assert python(code).strip() == "[]"


def test_defaults_lie_in_their_ranges() -> None:
    for entry in registry.entries().values():
        for parameter in entry.parameters:
            values = parameter.default if isinstance(parameter.default, list) else [parameter.default]
            for value in values:
                if isinstance(value, (int, float)):
                    assert parameter.minimum is None or value >= parameter.minimum
                    assert parameter.maximum is None or value <= parameter.maximum
