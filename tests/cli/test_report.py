"""``flowcli report``: the page, read as a file and opened in a browser."""

from __future__ import annotations

import gzip
import os
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import torch

from flowcli.model import Model
from flowcli.plots.elementwise import unclipped
from flowcli.transforms import sinh_arcsinh

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
MOST_BYTES = 5_000_000
# Names that must stay text, in HTML, in a script, for Bokeh and in a message.
SCRIPT, QUOTES, TEX = "<script>alert(1)</script>", "a'b\"\n&amp;", "$$x^2$$"
LABELS = ["</script><img src=x onerror=alert(2)>", "{{ 7 * 7 }}", "c"]


class Page(HTMLParser):
    """What a browser would make of the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._within: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._within.append(tag)

    def handle_endtag(self, tag):
        while self._within and self._within.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self._within[-1:]):
            self.text += data

    @property
    def sections(self) -> list[str]:
        return [attributes["id"] for tag, attributes in self.tags if tag == "section"]


def read(path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def odd(tmp_path_factory, iris):
    """A run of p(number | number, label), whose names and labels are made to break a page, and its report."""
    from running import run_here

    folder = tmp_path_factory.mktemp("odd")
    noise = np.random.default_rng(0)
    x, label = noise.normal(5, 2, 120), noise.integers(0, 3, 120)
    frame = pd.DataFrame({QUOTES: x, SCRIPT: np.array(LABELS)[label], TEX: 2 * x + label + noise.normal(0, 1, 120)})
    with gzip.open(folder / "<b>.csv.gz", "wt") as file:
        frame.to_csv(file, index=False)
    context = pd.Series([QUOTES, SCRIPT]).to_frame().T.to_csv(index=False, header=False).strip()
    args = ("--context", context, "-c", "gaussian", "-s", "train.epochs=1", "-o", folder / "run", "-q")
    done = run_here("fit", folder / "<b>.csv.gz", *args)
    assert done.status == 0, done.err
    done = run_here("report", "-m", folder / "run", "-o", folder / "odd.html")
    assert (done.status, done.out) == (0, f"{folder / 'odd.html'}\n"), done.err
    return folder


def test_nothing_in_the_data_breaks_it(odd):
    page = read(odd / "odd.html")
    assert (odd / "odd.html").stat().st_size < MOST_BYTES
    for text in (SCRIPT, TEX, "<b>.csv.gz", *LABELS[:2]):
        assert text in page.text
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert all(attributes["src"].startswith("data:") for tag, attributes in page.tags if tag == "img")
    assert "b" not in {tag for tag, _ in page.tags}
    # Bokeh's script, the page's own, and the facts.
    assert len([tag for tag, _ in page.tags if tag == "script"]) == 3
    assert str(odd) not in (odd / "odd.html").read_text()


def test_a_report_of_a_mixture(cli, tmp_path, iris_run, iris):
    done = cli("report", "-m", iris_run, "-o", "it.html")
    assert (done.status, done.out) == (0, "it.html\n"), done.err
    page = read(tmp_path / "it.html")
    assert page.sections == ["data", "model", "training", "figures", "pairs", "latents", "rows", "family", "again"]
    assert "15 held-out rows of iris.csv" in page.text
    model = Model.load(iris_run)
    test = model.header.metrics["test_log_likelihood"]
    assert f"{test['mean']:.3f}".replace("-", "−") in page.text
    assert len([tag for tag, _ in page.tags if tag == "img"]) == 3
    # The most surprising row, as score has it.
    places = re.findall(
        r'<th scope="row">iris\.csv: row (\d+)</th><td class="number">([^<]+)<', (tmp_path / "it.html").read_text()
    )
    scores = model.log_prob(pd.read_csv(iris))
    shown = [(int(row), float(score.replace("−", "-"))) for row, score in places]
    assert [score for _, score in shown] == pytest.approx([scores[row - 1] for row, _ in shown], abs=1e-3)
    assert [score for _, score in shown[:10]] == sorted(score for _, score in shown[:10])
    assert str(iris.parent) not in (tmp_path / "it.html").read_text()


def test_what_is_not_at_hand_is_told(cli, tmp_path, gaussian_run, iris):
    """A model file alone, whose data are gone."""
    model = Model.load(gaussian_run)
    model.header.data["files"] = [str(tmp_path / "gone" / "iris.csv")]
    model.save(tmp_path / "m.safetensors")
    done = cli("report", "-m", "m.safetensors")
    assert (done.status, done.out) == (0, "report.html\n"), done.err
    page = read(tmp_path / "report.html")
    assert "iris.csv, is not there any more: name DATA" in page.text
    assert "holds no history.csv" in page.text
    assert str(tmp_path) not in (tmp_path / "report.html").read_text()
    assert "left out: pairs" in done.err
    done = cli("report", iris, "-m", "m.safetensors")
    assert (done.status, done.out) == (0, "report-2.html\n"), done.err
    page = read(tmp_path / "report-2.html")
    assert "150 rows of iris.csv" in page.text
    assert "the model was trained on most of its rows" in page.text
    assert "training rows are not at hand" in page.text
    assert len([tag for tag, _ in page.tags if tag == "img"]) == 2


def test_refusals(cli, tmp_path, gaussian_run):
    (tmp_path / "mine.html").write_text("mine")
    (tmp_path / "bad.csv").write_text("x,y\n1,2\n")
    for args, status, words in (
        (["-o", "mine.html"], 2, "--force"),
        (["-o", "it.txt"], 2, ".html"),
        (["bad.csv", "-o", "it.html"], 1, "bad.csv"),
    ):
        done = cli("report", *args, "-m", gaussian_run)
        assert (done.status, done.out) == (status, "")
        assert words in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.csv", "mine.html"]
    assert (tmp_path / "mine.html").read_text() == "mine"


@pytest.fixture(scope="module")
def opened(odd, tmp_path_factory):
    """The page in a browser, and all that it said and asked for."""
    if CHROMIUM is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no Chromium")
        pytest.skip("no Chromium")
    from playwright.sync_api import sync_playwright

    said: list[str] = []
    asked: list[str] = []
    with sync_playwright() as playwright:
        profile = tmp_path_factory.mktemp("profile")
        options = {"executable_path": CHROMIUM, "headless": True, "args": FLAGS, "timeout": 120_000}
        browser = playwright.chromium.launch_persistent_context(profile, **options)
        page = browser.new_page()
        page.set_default_timeout(120_000)
        # Bokeh tells how long it took.
        page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((odd / "odd.html").as_uri())
        page.wait_for_function("document.documentElement.dataset.ready === 'true'")
        yield page, said, asked
        browser.close()


def drawn(page, name):
    """The data of the first source of this name, as Bokeh has them."""
    source = f"Bokeh.documents.map(d => d.get_model_by_name('{name}')).find(s => s).data"
    found = page.evaluate(f"Object.fromEntries(Object.entries({source}).map(([k, v]) => [k, Array.from(v)]))")
    return {key: np.array(values) for key, values in found.items()}


def test_the_browser_is_content_and_no_network_is_asked(opened, odd):
    _, said, asked = opened
    assert said == []
    # Pictures are in the page.
    assert [url for url in asked if not url.startswith("data:")] == [(odd / "odd.html").as_uri()]


def test_the_context_moves_the_density(opened, odd):
    page, said, _ = opened
    model = Model.load(odd / "run")
    before, picture = drawn(page, "model"), page.locator("#context-plot-0").screenshot()
    page.locator("#context-0").focus()
    for key in ("End", "ArrowLeft"):
        page.keyboard.press(key)
    page.locator("#context-1").select_option(index=2)
    after = drawn(page, "model")
    assert not np.allclose(before["y"], after["y"])
    page.wait_for_timeout(300)
    assert page.locator("#context-plot-0").screenshot() != picture
    value = float(page.locator("#context-0 + output").text_content())
    label = page.locator("#context-1 option:checked").text_content()
    rows = pd.DataFrame({QUOTES: value, SCRIPT: label, TEX: after["x"]})
    # A value is shown with five digits, and heights are float32.
    exact = np.exp(model.log_prob(rows))
    np.testing.assert_allclose(after["y"], exact, atol=1e-3 * exact.max())
    assert said == []


@pytest.mark.parametrize("values", [(0.5, 0.6, 1.0, 2.0), (-1.0, 2.0, -0.5, 0.4)])
def test_the_family_is_that_of_the_transform(opened, values):
    page, said, _ = opened
    picture = page.locator("#family-plot-0").screenshot()
    for name, value in zip(("epsilon", "delta", "location", "scale"), values, strict=True):
        page.locator(f"#family-{name}").fill(str(value))
    found = drawn(page, "family")
    epsilon, delta, location, scale = values
    raw = [
        epsilon,
        unclipped(np.log(delta), sinh_arcsinh.LOG_TAIL_BOUND),
        location,
        unclipped(np.log(scale), sinh_arcsinh.LOG_SCALE_BOUND),
    ]
    z = torch.from_numpy(found["z"])
    x, log_slope = sinh_arcsinh.SinhArcsinhTransformer().forward(z, torch.tensor(raw, dtype=z.dtype).expand(len(z), -1))
    np.testing.assert_allclose(found["x"], x.numpy(), rtol=1e-9, atol=1e-9)
    normal = np.exp(-0.5 * found["z"] ** 2) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(found["density"], normal * np.exp(-log_slope.numpy()), rtol=1e-9)
    page.wait_for_timeout(300)
    assert page.locator("#family-plot-0").screenshot() != picture
    page.locator("#family-reset").click()
    np.testing.assert_allclose(drawn(page, "family")["x"], found["z"], atol=1e-12)
    assert said == []


@pytest.mark.parametrize("width", [1200, 390])
def test_it_fits_the_screen(opened, width):
    page, _, _ = opened
    page.set_viewport_size({"width": width, "height": 800})
    # Pictures follow the window a moment later.
    page.wait_for_function(f"document.documentElement.scrollWidth <= {width}")
