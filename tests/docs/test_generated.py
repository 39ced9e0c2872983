"""The generated pages are what the code says, and what they say holds."""

from __future__ import annotations

import re
import shlex

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from flowcli.cli.app import app
from flowcli.config.load import load_config
from flowcli.config.schema import Config, DataConfig, TrainConfig
from flowcli.docs.command_pages import all_commands
from flowcli.docs.generate import FOLDER, GENERATED, page
from flowcli.docs.references import REFERENCES
from flowcli.docs.transform_pages import CATALOGUE, snippet
from flowcli.flows.build import build_density
from flowcli.flows.layout import Layout
from flowcli.transforms.catalogue import ENTRIES

LAYOUT = Layout(numbers=("a", "b", "c"), labels=(("k", 3), ("l", 2)), ordinals=(("n", 2.0), ("m", 1.0)))
CONDITIONAL = Layout(LAYOUT.numbers, LAYOUT.labels, LAYOUT.ordinals, context=(("y", 1),))


@pytest.mark.parametrize("name", GENERATED)
def test_up_to_date(name):
    assert (FOLDER / name).read_text(encoding="utf-8") == page(name), "run python -m flowcli.docs.generate"


@pytest.mark.parametrize("command", all_commands(), ids=lambda command: command.name)
def test_examples_are_commands(command):
    """Every option of an example is known, and nothing that is needed is missing."""
    words = shlex.split(re.split(r"[|>]", command.example)[0])
    assert words[: 1 + command.name.count(" ") + 1] == ["flowcli", *command.name.split()]
    found = get_command(app)
    for name in command.name.split():
        found = found.commands[name]
    found.make_context(command.name, words[2 + command.name.count(" ") :])


def test_every_option_of_the_help_is_on_the_page():
    text = (FOLDER / "commands.md").read_text(encoding="utf-8")
    for command in all_commands():
        shown = CliRunner().invoke(app, [*command.name.split(), "--help"]).stdout
        section = text.partition(f"## flowcli {command.name}\n")[2].partition("\n## ")[0]
        options = set(re.findall(r"(?<=[ ,])--[a-z-]+", shown.partition("Options:")[2]))
        for option in options - {"--quiet", "--verbose", "--debug", "--help"}:
            # The help mentions options of others, too.
            assert f"`{option}" in section or f"  {option}" not in shown, f"{command.name} {option}"


def test_environment_variables_are_told():
    text = (FOLDER / "commands.md").read_text(encoding="utf-8")
    read = set()
    for file in FOLDER.parent.rglob("*.py"):
        read |= set(re.findall(r"environ(?:\.get\(|\[)\"(\w+)\"", file.read_text(encoding="utf-8")))
    assert {"FLOWCLI_MODEL", "OMP_NUM_THREADS"} <= read
    for name in read - {"COMP_WORDS", "COMP_CWORD", "_FLOWCLI_COMPLETE"}:
        assert f"`{name}`" in text


@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry.name)
def test_snippets_are_built(entry, tmp_path):
    text = snippet(entry)
    assert f"```yaml\n{text}\n```" in (FOLDER / "transforms.md").read_text(encoding="utf-8")
    (tmp_path / "config.yaml").write_text(text)
    config = load_config(str(tmp_path / "config.yaml"))
    layout = CONDITIONAL if config.data.context else LAYOUT
    flow = config.flow
    if flow.transforms is None:
        flow = flow.model_copy(update={"transforms": []})
    assert sum(parameter.numel() for parameter in build_density(flow, layout).parameters()) > 0


def test_every_paper_is_given_in_full():
    cited = [name for entry in CATALOGUE for name in re.findall(r"[^;]*? \d{4}(?!\d)", entry.reference)]
    assert {name.strip() for name in cited} == set(REFERENCES)


def test_log_determinants_are_given():
    for entry in ENTRIES:
        assert entry.log_det
        assert entry.volume_preserving == (entry.log_det == "0")


def test_every_key_of_a_config_is_on_its_page():
    text = (FOLDER / "config.md").read_text(encoding="utf-8")
    for section in (Config, TrainConfig, DataConfig):
        for key, field in section.model_fields.items():
            assert f"| `{key}` |" in text
            assert (field.description or "").replace("|", "\\|") in text


def test_links_lead_somewhere():
    for file in FOLDER.glob("*.md"):
        for target in re.findall(r"\]\(([^)\s]+)\)", file.read_text(encoding="utf-8")):
            path, _, place = target.partition("#")
            if path.startswith("http"):
                continue
            linked = (file.parent / path) if path else file
            assert linked.exists(), f"{file.name}: {target}"
            if place:
                titles = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
                assert place in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, target
