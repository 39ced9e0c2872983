"""The config that ``init`` writes."""

import csv

import yaml
from jsonschema import Draft202012Validator

from flowcli.config.load import load_config
from flowcli.config.schema import Config, DataConfig, TrainConfig


def read_back(text, tmp_path) -> Config:
    path = tmp_path / "flow.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(str(path))


def test_without_data_it_is_the_defaults(cli, tmp_path):
    done = cli("init")
    assert done.status == 0
    assert read_back(done.out, tmp_path) == load_config()


def test_every_key_is_there_with_what_it_means(cli):
    lines = cli("init").lines
    for section in (TrainConfig, DataConfig):
        for key, field in section.model_fields.items():
            (line,) = [line for line in lines if line.startswith(f"  {key}: ")]
            assert field.description in line


def test_with_data_it_has_the_flow_for_the_table(cli, iris, tmp_path):
    done = cli("init", iris)
    config = read_back(done.out, tmp_path)
    assert config.flow is not None
    assert config.flow.mixture
    assert config.train == TrainConfig()
    assert "150 rows" in done.out
    for name in ("sepal_length", "petal_width", "species"):
        assert any(line.startswith("#") and name in line for line in done.lines)


def test_the_schema_accepts_it(cli, iris):
    for done in (cli("init"), cli("init", iris)):
        Draft202012Validator(Config.model_json_schema()).validate(yaml.safe_load(done.out))


def test_the_flow_is_that_of_a_fit_without_a_config(cli, iris, iris_run, tmp_path):
    fitted = load_config(str(iris_run / "config.yaml"))
    assert read_back(cli("init", iris).out, tmp_path).flow == fitted.flow


def test_the_flow_is_sized_by_the_rows_that_a_fit_trains_on(cli, tmp_path):
    # 320 rows are more than 300, the 288 training rows among them are fewer; y has heavy tails.
    with (tmp_path / "t.csv").open("w", newline="") as file:
        rows = [[i * 7919 % 1009, ((i * 31 % 613 - 306) / 50) ** 5] for i in range(320)]
        csv.writer(file).writerows([["x", "y"], *rows])
    assert cli("fit", "t.csv", "-s", "train.epochs=0", "-o", "run", "-q").status == 0
    fitted = load_config(str(tmp_path / "run" / "config.yaml"))
    template = read_back(cli("init", "t.csv").out, tmp_path)
    assert template.flow == fitted.flow
    assert [member.heavy_tails for member in template.flow.mixture].count("kept") == 1
