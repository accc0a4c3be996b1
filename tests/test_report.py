"""The report: what it says of made-up claims, and, in a browser, that everything in it works."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from scripts_fixtures import script

from replication.study import guide
from replication.study.claims import Claim, Control, Outcome
from replication.study.picture import picture
from replication.study.record import Record, settings, update
from replication.study.report import Section, markdown, mathematics, page, words
from replication.study.statistics import Statistic

compose = script("compose")
CONFIG = compose.typed(compose.preset("ci/multi_output"))[1]
ATTRS = {"experiment": "multi_output", "version": 1, "engine": 1, "cells": 3, "wall_time": 120.0}
COMMIT = "0123456789abcdef"


def outcome(draw: int) -> Outcome:
    control = Control("a <wrong> theory", lambda dataset: dataset)
    claim = Claim(
        "multi_output.independent", "§5", "So & so it <is>.", "so", "taken | so", "f", lambda _: [], [control]
    )
    own = Statistic("exponent of distance <it>", -0.5 + 0.01 * draw, -0.6, -0.4, (-0.7, -0.3))
    return Outcome(
        claim, [own], {"a <wrong> theory": [Statistic("exponent of distance <it>", 0.0, -0.1, 0.1, (-0.7, -0.3))]}
    )


@pytest.fixture
def results(tmp_path: Path) -> tuple[list[Section], Record]:
    """One preset with three draws, a figure, and a plot with a slider."""
    path = tmp_path / "multi_output.png"
    Image.new("RGB", (400, 200), "white").save(path)
    curves = [{"name": "a", "color": "#000", "y": [0.0, 1.0, None]}]
    plot = {
        "label": "l", "slider": "Width", "caption": "c </script>", "x": [0.0, 1.0, 2.0], "x_label": "x", "y_label": "y",
        "limits": [0.0, 2.0, 0.0, 1.0], "steps": [{"name": "one", "curves": curves}, {"name": "two", "curves": curves}],
    }  # fmt: skip
    record: Record = {}
    entry = {"commit": COMMIT, "cpu": "x86_64", "from": "a", "to": "b", "cells": {"main": 1.0}}
    for draw in (0, 1, 2):
        attrs = ATTRS | {"draw": draw, "provenance": [entry]}
        record = update(record, "multi_output", settings(CONFIG), attrs, [outcome(draw)])
    return [Section("multi_output", ATTRS, [outcome(0)], {"multi_output": path}, plot)], record


def test_page_says_what_the_record_says(results: tuple[list[Section], Record]) -> None:
    text = page(*results)
    assert "1 claim: 1 hold in every confirming draw" in text
    assert "So &amp; so it &lt;is&gt;." in text
    assert "holds in 2 of 2" in text
    assert "falls like n to the power −0.50 ± 0.10." in text
    assert COMMIT[:9] in text
    assert not re.search(r'(?:src|href)="(?!data:|#)', text)
    (data,) = re.findall(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)
    assert json.loads(data)["caption"] == "c </script>"


def test_mathematics_raises_and_lowers_indices_and_leaves_words() -> None:
    for text, html in {
        "n^{−1/2} < λ₂^∞": "n<sup>−1/2</sup> &lt; λ₂<sup>∞</sup>",
        "x_1x_2 (n_0 = 2)": "x<sub>1</sub>x<sub>2</sub> (n<sub>0</sub> = 2)",
        "sup_γ|Θ_t|": "sup<sub>γ</sub>|Θ<sub>t</sub>|",
        "⟨f⁽²⁾, h⟩_{Θ_t}, ‖·‖_F, λ_min": "⟨f⁽²⁾, h⟩<sub>Θ<sub>t</sub></sub>, ‖·‖<sub>F</sub>, λ<sub>min</sub>",
        "kernel_gradient.stall, smoothness_is_variance": "kernel_gradient.stall, smoothness_is_variance",
    }.items():
        assert mathematics(text) == html


def test_words_say_what_was_found() -> None:
    lines = words("ci/multi_output", [outcome(0)]).splitlines()
    assert lines[1].endswith("falls like n to the power −0.50 ± 0.10.")
    assert lines[3:] == ["It holds that (1 claim):", "- So & so it <is>."]
    renamed = replace(outcome(0).statistics[0], name="slope", low=-1.0)
    lines = words("ci/multi_output", [replace(outcome(0), statistics=[renamed])]).splitlines()
    assert lines[1:] == ["", "It is undecided whether (1 claim):", "- So & so it <is>."]


def test_markdown_has_a_row_for_each_claim(results: tuple[list[Section], Record], tmp_path: Path) -> None:
    text = markdown(*results, tmp_path)
    (row,) = [line for line in text.splitlines() if line.startswith("| multi_output.independent")]
    cells = re.split(r" (?<!\\)\| ", row.strip("| "))
    assert cells[3] == "exponent of distance <it> = -0.5 [-0.6, -0.4] (allowed: −0.7 to −0.3)"
    assert cells[4:] == [r"taken \| so", "holds in 2 of 2", "a <wrong> theory: rejected"]
    assert "![multi_output](multi_output.png)" in text
    assert "not confirmed yet" not in text


def test_picture_places_what_it_shows(results: tuple[list[Section], Record]) -> None:
    """The interval lies inside the shaded range, and the control outside it."""
    drawing = picture(results[1]["multi_output"]["claims"]["multi_output.independent"], 0)
    left, width = map(float, re.findall(r'class="allowed" x="([\d.]+)" y="\d+" width="([\d.]+)"', drawing)[0])
    first, last = map(float, re.findall(r'class="own" x1="([\d.]+)" x2="([\d.]+)"', drawing)[0])
    (cross,) = map(float, re.findall(r'class="control" d="M([\d.]+)', drawing))
    assert left < first < last < left + width < cross
    assert drawing.count('circle class="draw"') == 2
    assert "&lt;it&gt;" in drawing


def test_guide_covers_the_presets_and_names_claims_that_exist() -> None:
    presets = [name for name in compose.presets() if not name.startswith("ci/")]
    assert sorted(item.preset for item in guide.GUIDE) == [name for name in presets if "/" not in name]
    assert sorted(name for item in guide.GUIDE for name in item.cost) == presets
    for item in guide.GUIDE:
        ids = {claim.id for claim in compose.typed(compose.preset(item.preset))[0].claims}
        named = set(re.findall(r"\{(\w+\.\w+)", item.answer + item.finding))
        assert named <= ids, item.preset


def test_a_sentence_that_names_no_statistic_is_refused() -> None:
    numbers = {"a.b": [("exponent of x", -0.5, -0.6, -0.4), ("exponent of y", 1.0, 1.0, 1.0)]}
    assert guide.fill("n^({a.b:exponent of x})", numbers) == "n^(−0.50 ± 0.10)"
    for beginning in ("slope", "exponent"):
        with pytest.raises(KeyError, match="it has: exponent of x, exponent of y"):
            guide.fill(f"{{a.b:{beginning}}}", numbers)


@pytest.fixture
def browser(results: tuple[list[Section], Record], tmp_path: Path) -> Iterator[Any]:
    """A browser that shows the page. Debian: apt-get install chromium chromium-driver."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("there is no chromium with chromedriver")
    from selenium import webdriver

    (tmp_path / "report.html").write_text(page(*results), encoding="utf-8")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    window = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        window.get((tmp_path / "report.html").as_uri())
        yield window
    finally:
        window.quit()


def test_page_works_in_a_browser(browser: Any) -> None:
    """No error in the console, each image and link there, slider and filter work, nothing is wider than the window."""
    assert browser.get_log("browser") == []
    assert browser.execute_script("return [...document.images].every(image => image.complete && image.naturalWidth)")
    links = "return [...document.querySelectorAll('a[href^=\"#\"]')].map(a => a.getAttribute('href').slice(1))"
    missing = [name for name in browser.execute_script(links) if not browser.find_elements("id", name)]
    assert missing == []
    slide = "const s = document.querySelector('.interactive input'); s.value = 1; s.dispatchEvent(new Event('input'));"
    browser.execute_script(slide)
    assert browser.find_element("css selector", ".interactive output").text == "two"
    assert browser.find_element("css selector", ".interactive path").get_attribute("d").startswith("M56.0 318.0L")
    search = browser.find_element("id", "search")
    search.send_keys("sphere")
    shown = [row for row in browser.find_elements("css selector", ".statements tbody tr") if row.is_displayed()]
    assert shown
    assert all("sphere" in row.text.lower() for row in shown)
    for width in (400, 800, 1400):
        browser.set_window_size(width, 1000)
        inner, outer = browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
        assert inner <= outer, width
