"""What a person would say of each column of real tables."""

from pathlib import Path

import pytest

from flowcli.preprocess.measure import fit_columns
from flowcli.tables.infer import infer_columns
from flowcli.tables.read import read_table

DATA = Path(__file__).resolve().parents[2] / "data"

# A star: some cells are missing.
EXPECTED = {
    "iris": {
        "sepal_length": "steps of 0.1",
        "sepal_width": "steps of 0.1",
        "petal_length": "steps of 0.1",
        "petal_width": "steps of 0.1, positive",
        "species": "label",
    },
    "penguins": {
        "species": "label",
        "island": "label",
        "bill_length_mm": "steps of 0.1 *",
        "bill_depth_mm": "steps of 0.1 *",
        "flipper_length_mm": "integer *",
        "body_mass_g": "integer, steps of 25 *",
        "sex": "label *",
    },
    "titanic": {
        "PassengerId": "identifier",
        "Survived": "boolean",
        "Pclass": "integer",
        "Name": "identifier",
        "Sex": "label",
        "Age": "steps of 1, positive *",
        "SibSp": "integer, positive, zero-inflated",
        "Parch": "integer, positive, zero-inflated",
        "Ticket": "identifier",
        "Fare": "steps of 0.0001, positive",
        "Cabin": "identifier",
        "Embarked": "label *",
    },
    "diamonds": {
        "carat": "steps of 0.01, positive",
        "cut": "label",
        "color": "label",
        "clarity": "label",
        "depth": "steps of 0.1",
        "table": "steps of 1",
        "price": "integer, positive",
        "x": "steps of 0.01",
        "y": "steps of 0.01",
        "z": "steps of 0.01",
    },
    "taxis": {
        "pickup": "date",
        "dropoff": "date",
        "passengers": "integer, positive",
        "distance": "steps of 0.01, positive",
        "fare": "steps of 0.5, positive",
        "tip": "steps of 0.01, positive, zero-inflated",
        "tolls": "steps of 0.06, positive, zero-inflated",
        "total": "steps of 0.01, positive",
        "color": "label",
        "payment": "label *",
        "pickup_zone": "label *",
        "dropoff_zone": "label *",
        "pickup_borough": "label *",
        "dropoff_borough": "label *",
    },
    "adult": {
        "age": "integer, positive",
        "workclass": "label *",
        "fnlwgt": "integer, positive",
        "education": "label",
        "education_num": "integer",
        "marital_status": "label",
        "occupation": "label *",
        "relationship": "label",
        "race": "label",
        "sex": "label",
        "capital_gain": "integer, positive, zero-inflated",
        "capital_loss": "integer, positive, zero-inflated",
        "hours_per_week": "integer",
        "native_country": "label *",
        "income": "label",
    },
}


@pytest.mark.parametrize("name", EXPECTED)
def test_kinds(name: str) -> None:
    table = read_table([str(DATA / f"{name}.csv")])
    columns = fit_columns(infer_columns(table), table)
    assert {column.name: column.nature + " *" * column.missing for column in columns} == EXPECTED[name]


def test_heaps_and_zeros() -> None:
    table = read_table([str(DATA / "adult.csv")])
    columns = {column.name: column for column in fit_columns(infer_columns(table), table)}
    assert columns["capital_gain"].spikes == (0.0,)
    assert columns["hours_per_week"].spikes[0] == 40
    assert {20, 30, 50, 60} <= set(columns["hours_per_week"].spikes)
    assert columns["age"].spikes == ()
