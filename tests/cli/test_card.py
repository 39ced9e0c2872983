"""The model card of a run folder."""

import json

import pandas as pd
import pytest
import yaml
from markdown_it import MarkdownIt

BAD = "a|b` <i>[x](y)*_#"
HOSTILE = [f"{BAD}\n---\n| evil: yes", "```", "--- x: {", "y"]


def parts(run):
    """The front matter, as YAML has it, and the rest."""
    text = (run / "README.md").read_text(encoding="utf-8")
    _, matter, body = text.split("---\n", 2)
    return yaml.safe_load(matter), body


def test_its_figures_are_those_of_the_run(iris_run):
    matter, body = parts(iris_run)
    metrics = json.loads((iris_run / "metrics.json").read_text())
    test, gaussian = metrics["test_log_likelihood"], metrics["baselines"]["gaussian"]
    assert matter["library_name"] == "flowcli"
    assert "license" not in matter
    (result,) = matter["model-index"][0]["results"]
    assert result["metrics"][0]["value"] == pytest.approx(test["mean"])
    lines = body.splitlines()
    for name, summary in (("test rows", test), ("test rows, full-covariance Gaussian", gaussian)):
        figures = f"{summary['mean']:.3f} | {summary['standard_error']:.3f} | {summary['n']}"
        assert any(line.startswith(f"| {name} | {figures} |") for line in lines)
    for entry in metrics["mixture"]:
        assert any(line.startswith(f"| {entry['copies']} | ") and f"{entry['weight']:.3f}" in line for line in lines)
    assert f"{metrics['parameters']:,} parameters" in body
    rows = metrics["rows"]
    assert f"{rows['training']} training rows" in body
    for words in ("sepal_length", "species", "3 labels", "flowcli fit iris.csv -c config.yaml", "privacy"):
        assert words in body
    assert all(len(line) <= 1000 for line in lines)


def test_it_says_nothing_of_folders(iris, iris_run):
    assert str(iris.parent) not in (iris_run / "README.md").read_text()


def test_a_conditional_model_is_used_with_its_context(conditional_run):
    body = parts(conditional_run)[1]
    assert "given sepal_length" in body
    assert "--given sepal_length=VALUE" in body
    assert "'species': '...'" in body


def test_nothing_in_the_data_breaks_it(cli, tmp_path):
    frame = pd.DataFrame({name: [((i * (7 + k)) % 31) / 10 for i in range(60)] for k, name in enumerate(HOSTILE)})
    frame[HOSTILE[2]] = ["<b>|", "```"] * 30
    (tmp_path / "odd").mkdir()
    file = tmp_path / "odd" / "--- [t](x) | `.csv"
    frame.to_csv(file, index=False)
    done = cli("fit", file, "--context", "y", "-c", "gaussian", "-s", "train.epochs=1", "-o", "run", "-q")
    assert done.status == 0, done.err
    matter, body = parts(tmp_path / "run")
    assert {*matter} == {"library_name", "tags", "model-index"}
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(body)
    kinds = [token.type for token in tokens]
    assert "html_block" not in kinds
    inline = {child.type for token in tokens for child in token.children or []}
    assert not inline & {"html_inline", "link_open"}
    headings = [tokens[at + 1].content for at, kind in enumerate(kinds) if kind == "heading_open"]
    assert headings[1:] == ["Data", "Model", "How well it does", "How it was made", "How to use it", "Limits"]
    # Each name is in a cell of its own.
    cells = ["".join(child.content for child in t.children) for t in tokens if t.type == "inline" and t.children]
    assert any(cell.startswith(BAD) and "evil" in cell for cell in cells)
    fences = [token.content for token in tokens if token.type == "fence"]
    assert len(fences) == 4


def test_a_run_without_test_rows_has_a_card(cli, tmp_path, iris):
    done = cli("fit", iris, "-c", "gaussian", "-s", "train.epochs=1", "-s", "data.test=0", "-o", "run", "-q")
    assert done.status == 0, done.err
    matter, _ = parts(tmp_path / "run")
    assert "model-index" not in matter
