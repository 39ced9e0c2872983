"""``flowcli transforms``."""

import json

import pytest

from flowcli.config.distributions import BASES, LABEL_MODELS, ORDINAL_MODELS
from flowcli.transforms.registry import entries

DISTRIBUTIONS = (*BASES, *LABEL_MODELS, *ORDINAL_MODELS)
DESCRIBED = {**entries(), **{entry.name: entry for entry in DISTRIBUTIONS}}


def test_transforms_lists_all(cli):
    lines = cli("transforms").lines
    for name, entry in DESCRIBED.items():
        (line,) = [line for line in lines if line.split()[0] == name]
        assert entry.summary in line
        assert entry.sampling_cost in line


@pytest.mark.parametrize("name", list(DESCRIBED))
def test_transforms_explains_one(cli, name):
    done = cli("transforms", name)
    assert done.status == 0
    assert DESCRIBED[name].formula in done.out
    assert DESCRIBED[name].reference in done.out
    as_json = json.loads(cli("transforms", name, "--json").out)
    for parameter in DESCRIBED[name].parameters:
        assert parameter.doc in done.out
        assert parameter.name in [described["name"] for described in as_json["parameters"]]
