"""From a file or a preset and overrides to a checked config."""

import contextlib
import json
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from flowcli.config.load import dump_config, load_config
from flowcli.config.presets import preset_names, preset_path, presets_folder
from flowcli.config.schema import Config, parse_duration
from flowcli.errors import ConfigError, UsageError
from flowcli.transforms.registry import entries


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes a text to ``c.yaml`` in the folder that is worked in."""
    monkeypatch.chdir(tmp_path)

    def write(text: str | bytes) -> str:
        (tmp_path / "c.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
        return "c.yaml"

    return write


def problems(file: str | None, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(file, overrides)
    return caught.value.problems


def test_without_a_config_there_are_defaults():
    config = load_config()
    assert config.flow is None
    assert config.seed == 0
    assert config.data.validation is None


def test_an_empty_file_is_the_defaults(written):
    assert load_config(written("")) == load_config()


def test_a_file_is_read(written):
    config = load_config(
        written(
            "flow:\n  transforms:\n  - affine_coupling: {hidden: [20, 20]}\n  - permute\ntrain: {learning_rate: 1e-3}\n"
        )
    )
    assert config.train.learning_rate == 0.001
    assert [transform.name for transform in config.flow.transforms] == ["affine_coupling", "permute"]
    coupling, permute = (transform.parameters for transform in config.flow.transforms)
    assert coupling.hidden == [20, 20]
    assert coupling.split == "alternate"
    assert permute.order == "reverse"


def test_all_mistakes_are_told_at_once_in_the_order_of_the_text(written):
    file = written(
        "flow:\n"
        "  base: nromal\n"
        "  transforms:\n"
        "  - affin_coupling\n"
        "  - permute: {order: sideways}\n"
        "  - spline: {bins: 1}\n"
        "train:\n"
        "  epocs: 3\n"
        "  patience: -1\n"
        "sede: 4\n"
    )
    told = problems(file)
    assert [line.split(": ")[0] for line in told] == [
        "c.yaml:2:3",
        "c.yaml:4:5",
        "c.yaml:5:15",
        "c.yaml:6:14",
        "c.yaml:8:3",
        "c.yaml:9:3",
        "c.yaml:10:1",
    ]
    assert "'normal'" in told[0]
    assert "unknown transform 'affin_coupling'" in told[1]
    assert "Did you mean 'affine_coupling'?" in told[1]
    assert "'natural', 'reverse', 'random'" in told[2]
    assert "at least 2" in told[3]
    assert "Did you mean 'epochs'?" in told[4]
    assert "at least 1; got -1" in told[5]
    assert "Did you mean 'seed'?" in told[6]


def test_a_mistake_inside_a_chain_in_the_chain_has_its_place(written):
    file = written(
        "flow:\n  transforms:\n  - chain:\n      repeat: 2\n      transforms:\n      - affine: {hiden: [3]}\n"
    )
    (told,) = problems(file)
    assert told.startswith("c.yaml:6:18: ")
    assert "Did you mean 'hidden'?" in told


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- 1\n", "a config is a mapping"),
        ("3", "a config is a mapping"),
        ("seed: yes", "whole number; got 'yes'"),
        ("seed: 1.5", "whole number; got 1.5"),
        ("seed: true", "whole number; got True"),
        ("seed: -1", "at least 0"),
        ("train: {learning_rate: '1e-3'}", "must be a number; got '1e-3'"),
        ("train: {learning_rate: 0}", "above 0"),
        ("train: {max_time: 10x}", "10m"),
        ("train: null", "section"),
        ("data: {context: species}", "a list; got 'species'"),
        ("data: {context: [1]}", "a text; got 1"),
        ("data: {validation: 1}", "below 1"),
        ("data: {test: -0.1}", "at least 0"),
        ("flow: {repeat: 2}", "'flow': repeat needs transforms"),
        ("flow: {base: norml}", "unknown base 'norml'. Did you mean 'normal'?"),
        ("flow: {labels: softmx, transforms: []}", "unknown model of labels 'softmx'"),
        ("flow: {transforms: [{coupling: {transformer: planar}}]}", "unknown elementwise transform 'planar'"),
        ("flow: {transforms: {affine: {}}}", "must be a list"),
        ("flow: {transforms: [[affine]]}", "a step of the chain"),
        ("flow: {transforms: [{affine: {}, spline: {}}]}", "start each with '- '"),
        ("flow: {transforms: [affine: 3]}", "section"),
        ("flow: {transforms: [affine: {hidden: [0]}]}", "at least 1"),
        ("flow: {transforms: [affine: {hidden: 64}]}", "a list"),
        ("flow: {repeat: 0, transforms: [affine]}", "at least 1"),
    ],
)
def test_a_wrong_value_is_told_with_its_key_and_place(written, text, words):
    (told,) = problems(written(text))
    assert told.startswith("c.yaml:1:")
    assert words in told


@pytest.mark.parametrize("order", ["[1, 1]", "[0, 1]", "[1, 3]", "[]"])
def test_a_list_that_is_no_order_of_any_columns_is_refused(written, order):
    # However many columns there are, these hold no position of each once.
    (told,) = problems(written(f"flow: {{transforms: [permute: {{order: {order}}}]}}"))
    assert "order" in told


def test_a_seed_beyond_64_bits_is_told_in_its_own_digits(written):
    (told,) = problems(written("seed: 99999999999999999999999\n"))
    assert "99999999999999999999999" in told


def test_a_text_that_is_not_utf8_is_refused(written):
    with pytest.raises(UsageError, match=r"c\.yaml: cannot be read: not UTF-8"):
        load_config(written("seed: 1 # é".encode("latin-1")))


def test_a_byte_order_mark_and_crlf_are_read(written):
    assert load_config(written(b"\xef\xbb\xbfseed: 3\r\ntrain: {epochs: 4}\r\n")).seed == 3


def test_an_unknown_preset_is_told_with_the_nearest(written):
    with pytest.raises(UsageError, match="Did you mean 'realnvp'"):
        load_config("realnpv")


def test_an_unknown_preset_lists_the_known_ones_once(written):
    with pytest.raises(UsageError) as caught:
        load_config("zzzzzz")
    words = re.findall(r"\w+", str(caught.value))
    for name in preset_names():
        assert words.count(name) == 1


def test_a_folder_is_no_config(written):
    with pytest.raises(UsageError, match="cannot be read"):
        load_config(".")


def test_a_file_comes_before_a_preset_of_the_same_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("maf").write_text("seed: 77\n")
    assert load_config("maf").seed == 77


# Overrides


def test_overrides_are_read_as_yaml():
    config = load_config(
        None, ["train.learning_rate=3e-4", "data.context=[a, 'b c']", "train={epochs: 3}", "train.warmup=7", "seed= 5"]
    )
    assert config.data.context == ["a", "b c"]
    assert (config.train.epochs, config.train.warmup, config.seed) == (3, 7, 5)


def test_a_later_override_wins():
    assert load_config(None, ["seed=1", "seed=2"]).seed == 2


def test_an_override_of_one_key_leaves_the_others():
    config = load_config("conditional", ["flow.transforms.0.spline_autoregressive.hidden=[8]"])
    spline = config.flow.transforms[0].parameters
    assert spline.hidden == [8]
    assert spline.bins == 8
    assert config.data.context == ["sepal_length", "sepal_width", "species"]


def test_an_override_reaches_into_lists():
    config = load_config("realnvp", ["flow.transforms.1.permute.order=random", "flow.transforms.0=spline_coupling"])
    assert [transform.name for transform in config.flow.transforms] == ["spline_coupling", "permute"]
    assert config.flow.transforms[1].parameters.order == "random"


def test_an_override_brings_a_section_that_the_file_has_not():
    assert load_config("gaussian", ["data.drop=[x]"]).data.drop == ["x"]


def test_an_override_with_equals_signs_in_its_value():
    assert load_config(None, ["data.context=['a=b']"]).data.context == ["a=b"]


def test_a_wrong_override_is_told_by_its_key():
    told = problems(None, "train.epocs=3", "seed=x")
    assert any(line.startswith("--set train.epocs: ") and "Did you mean 'epochs'?" in line for line in told)
    assert any(line.startswith("--set seed: ") and "got 'x'" in line for line in told)


def test_mistakes_of_the_file_and_of_overrides_come_together(written):
    told = problems(written("sede: 3\n"), "train.epochs=-1")
    assert len(told) == 2
    assert any(line.startswith("c.yaml:1:1: ") for line in told)
    assert any(line.startswith("--set train.epochs: ") for line in told)


def test_an_override_inside_a_value_is_told_by_the_override():
    # Nothing here is in a file: a place "config:1:1" would say nothing.
    (told,) = problems(None, "train.epochs.x=3")
    assert told.startswith("--set train.epochs")


@pytest.mark.parametrize("override", ["seed", "=3", "", "flow.transforms.9=affine", "flow.transforms.x=affine"])
def test_an_override_that_names_nothing_is_a_usage_error(override):
    with pytest.raises(UsageError, match="--set"):
        load_config("realnvp", [override])


def test_a_digit_that_is_not_a_number_is_no_position():
    with pytest.raises(UsageError, match="--set"):
        load_config("realnvp", ["flow.transforms.²=affine"])


def test_tags_and_aliases_in_an_override_are_refused():
    with pytest.raises(ConfigError, match="tag"):
        load_config(None, ["seed=!!python/name:os.system x"])
    with pytest.raises(ConfigError, match="aliases"):
        load_config(None, ["seed=*a"])


# Any text at all: it loads, or it is refused as a config

KEYS = ["flow", "train", "data", "seed", "base", "repeat", "transforms", "epochs", "context", "validation", "max_time"]
PARTS = st.sampled_from([*KEYS, *entries(), "chain", "hidden", "order", "0", "1", "-1", "²", "٣", ""]) | st.text(
    max_size=4
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from([*entries(), "normal", "reverse", "10m", "1e-3"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PARTS | st.integers(), inner, max_size=3),
    max_leaves=12,
)
OVERRIDES = st.builds(
    lambda path, value: f"{'.'.join(path)}={value}",
    st.lists(PARTS, min_size=1, max_size=5),
    VALUES.map(json.dumps) | st.text(max_size=8),
)


@settings(deadline=None, max_examples=250)
@given(st.sampled_from([None, "realnvp", "conditional"]), st.lists(OVERRIDES | st.text(max_size=12), max_size=3))
def test_any_override_loads_or_is_refused(preset, overrides):
    # Any other exception fails the test.
    with contextlib.suppress(UsageError):
        assert isinstance(load_config(preset, overrides), Config)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("yaml") / "c.yaml"


@settings(deadline=None, max_examples=250)
@given(
    content=st.dictionaries(st.sampled_from(KEYS[:4]), VALUES, max_size=4).map(lambda v: yaml.safe_dump(v).encode())
    | VALUES.map(lambda v: yaml.safe_dump(v, default_flow_style=True).encode())
    | st.text().map(str.encode)
    | st.binary()
)
def test_any_file_loads_or_is_refused(scratch, content):
    scratch.write_bytes(content)
    try:
        config = load_config(str(scratch))
    except UsageError:
        return
    # What loads can be written and read again.
    scratch.write_text(dump_config(config), encoding="utf-8")
    assert load_config(str(scratch)) == config


# Resolved configs


@pytest.mark.parametrize("name", [None, *preset_names()])
def test_a_resolved_config_is_a_fixed_point(written, name):
    resolved = load_config(name)
    text = dump_config(resolved)
    again = load_config(written(text))
    assert again == resolved
    assert dump_config(again) == text


def test_a_resolved_config_has_every_key(written):
    shown = yaml.safe_load(dump_config(load_config("maf", ["train.max_time=10m"])))
    assert shown["train"]["max_time"] == 600
    assert shown["train"].keys() >= {"optimizer", "learning_rate", "batch_size", "epochs", "patience"}
    parameters = shown["flow"]["transforms"][0]["affine_autoregressive"]
    assert parameters.keys() == {parameter.name for parameter in entries()["affine_autoregressive"].parameters}


def test_dumped_text_keeps_words_that_look_like_other_things(written):
    names = ["1e-3", "true", "null", "007", "a: b", "- x", "é", "😀", " x ", "#", "10m", "~", "yes", "a,b", "'"]
    config = load_config(written(json.dumps({"data": {"context": names}}, ensure_ascii=False)))
    assert load_config(written(dump_config(config))).data.context == names


# Presets


def test_there_are_presets_and_each_says_what_it_is():
    assert {"maf", "realnvp", "nsf_coupling", "conditional", "gaussian"} <= set(preset_names())
    for name in preset_names():
        first = preset_path(name).read_text(encoding="utf-8").splitlines()[0]
        assert first.startswith("# ")
        assert first.endswith(".")


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_a_good_config(name):
    config = load_config(name)
    if name == "auto":
        assert config == load_config()
        return
    assert config.flow is not None
    assert config.flow.transforms or config.flow.factors


def test_presets_are_all_in_one_folder():
    assert sorted(path.name for path in presets_folder().iterdir()) == [f"{name}.yaml" for name in preset_names()]


# JSON Schema: what an editor says is what flowcli says


@pytest.fixture(scope="module")
def schema():
    generated = Config.model_json_schema()
    Draft202012Validator.check_schema(generated)
    return Draft202012Validator(generated)


@pytest.mark.parametrize("name", preset_names())
def test_the_schema_accepts_every_preset(schema, name):
    schema.validate(yaml.safe_load(preset_path(name).read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", [None, *preset_names()])
def test_the_schema_accepts_every_resolved_config(schema, name):
    schema.validate(yaml.safe_load(dump_config(load_config(name))))


@pytest.mark.parametrize(
    "good",
    [
        {},
        {"flow": {"transforms": ["affine", {"spline": None}, {"chain": {"repeat": 2, "transforms": ["affine"]}}]}},
        {"train": {"max_time": "10m"}, "data": {"test": "held_out.csv", "validation": 0.2}},
    ],
)
def test_the_schema_accepts_what_loads(schema, written, good):
    load_config(written(yaml.safe_dump(good)))
    schema.validate(good)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sede": 1},
        {"seed": "x"},
        {"seed": -1},
        {"train": {"epocs": 3}},
        {"train": {"learning_rate": 0}},
        {"flow": {"base": "norml"}},
        {"flow": {"factors": []}},
        {"flow": {"transforms": "affine"}},
        {"flow": {"transforms": ["affin"]}},
        {"flow": {"transforms": [{"affin": {}}]}},
        {"flow": {"transforms": [{"affine": {"hiden": [3]}}]}},
        {"flow": {"transforms": [{"affine": {"hidden": [0]}}]}},
        {"flow": {"transforms": [{"affine": {}, "spline": {}}]}},
        {"flow": {"transforms": [{}]}},
        {"data": {"context": "species"}},
        {"data": {"validation": 1.5}},
    ],
)
def test_the_schema_refuses_what_does_not_load(schema, written, wrong):
    with pytest.raises(ConfigError):
        load_config(written(yaml.safe_dump(wrong)))
    assert not schema.is_valid(wrong)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("1.5h", 5400), ("2d", 172800), ("1e2s", 100)]
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "10 minutes", "1:30", "10M", "nan", "inf", "1_0s"])
def test_what_is_no_duration_is_refused(written, text):
    (told,) = problems(None, f"train.max_time='{text}'")
    assert "max_time" in told
