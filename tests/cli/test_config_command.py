"""``flowcli config``."""

import re

import pytest

from flowcli.config.presets import preset_names


def test_a_cycle_of_factors_is_named(cli, iris, tmp_path):
    (tmp_path / "c.yaml").write_text(
        "flow:\n  factors:\n"
        "  - {columns: [sepal_length], given: [petal_length], transforms: [spline]}\n"
        "  - {columns: [petal_length], given: [sepal_length], transforms: [spline]}\n"
    )
    done = cli("config", "check", "c.yaml")
    assert done.status == 2
    assert done.err.startswith("flowcli: c.yaml:1:1: ")
    assert "cycle: sepal_length <- petal_length <- sepal_length" in done.err


def test_config_list(cli):
    lines = cli("config", "list").lines
    assert [line.split()[0] for line in lines] == preset_names()
    assert all(len(line.split()) > 2 for line in lines)


@pytest.mark.parametrize("name", preset_names())
def test_config_check_of_every_preset(cli, name):
    done = cli("config", "check", name)
    assert (done.status, done.out) == (0, "")


def test_config_check_tells_all_mistakes_at_once(cli, tmp_path):
    (tmp_path / "c.yaml").write_text("seed: x\ntrain:\n  epocs: 3\nflow:\n  transforms:\n  - affin\n")
    done = cli("config", "check", "c.yaml")
    assert (done.status, done.out) == (2, "")
    places = re.findall(r"c\.yaml:(\d+:\d+): ", done.err)
    assert places == ["1:1", "3:3", "6:5"]
    assert len(done.err.splitlines()) == 3


def test_config_show_is_a_fixed_point(cli, tmp_path):
    once = cli("config", "show", "nsf_coupling", "-s", "data.context=[a, 'b c']").out
    (tmp_path / "c.yaml").write_text(once)
    assert cli("config", "show", "c.yaml").out == once
