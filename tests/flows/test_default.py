"""Which kinds of members the default mixture has, by the table's columns."""

import pytest

from flowcli.flows.default import default_mixture
from flowcli.flows.layout import Layout

from .cases import layout

HOLES = Layout(numbers=("a", "b"), labels=(("b", 2),), states=(None, 0))
MORE_HOLES = Layout(numbers=("a", "b"), labels=(("a", 2), ("b", 2)), states=(0, 1))


@pytest.mark.parametrize(
    ("columns", "free", "sizes"),
    [
        (layout(2), True, []),
        (layout(2, [3]), False, [1, 4]),
        (layout(1, [3]), False, [1, 4]),
        (layout(2, [], 3), False, [4]),
        (layout(2, [], 0, [1.5]), False, [4]),
        (HOLES, True, [1, 4]),
        (MORE_HOLES, False, [1, 4]),
        (layout(0, [3, 2]), False, []),
    ],
    ids=["numbers", "a label", "one number", "context", "ordinal", "holes", "more holes", "labels alone"],
)
def test_mixtures_of_normals(columns: Layout, free: bool, sizes: list[int]) -> None:
    told = [member.summary for member in default_mixture(1000, columns).mixture or []]
    assert any(text.startswith("gaussian_mixture of") for text in told) == free
    linear = "triangular_affine on " if len(columns.numbers) > 1 else ""
    given = [f"{linear}conditional_gaussian_mixture of {size}" for size in sizes]
    assert [text for text in told if "conditional_gaussian_mixture" in text] == given


def test_holes_alone_bring_no_networks_into_large_tables() -> None:
    told = [member.summary for member in default_mixture(10_000, HOLES).mixture or []]
    assert told[0].startswith("gaussian_mixture of")
    assert not any("conditional" in text for text in told)


def test_labels_of_many_categories_have_fewer_copies_in_large_tables() -> None:
    copies = [
        [member.copies for member in default_mixture(rows, layout(2, [size])).mixture or []]
        for rows, size in ((1000, 200), (10_000, 3), (10_000, 200))
    ]
    assert copies == [[5, 10, 10], [4, 8], [4, 4]]
