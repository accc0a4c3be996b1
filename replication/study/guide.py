"""The text that a reader gets about each preset (guide.yaml): question, what was done, answer, captions, cost."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources

from omegaconf import OmegaConf

from .claims import Outcome
from .record import Preset, rounded
from .statistics import number


@dataclass(frozen=True, kw_only=True)
class Guide:
    """The description of a preset for people.

    paper: what the paper says; finding, answer: the result, in a few words and in full; cost: (minutes, GiB) of the
    preset and of its variants; captions: sentences for each figure that can stand alone.
    """

    preset: str
    place: str
    title: str
    question: str
    paper: str
    done: str
    finding: str
    answer: str
    cost: Mapping[str, tuple[float, float | None]]
    captions: Mapping[str, str] = field(default_factory=dict)


def _read() -> tuple[Guide, ...]:
    text = resources.files(__package__).joinpath("guide.yaml").read_text(encoding="utf-8")
    return tuple(Guide(preset=str(preset), **values) for preset, values in OmegaConf.create(text).items())


GUIDE = _read()
"""In the order to read them."""

Numbers = Mapping[str, Sequence[tuple[str, float | None, float | None, float | None]]]
"""Claim → its statistics as (title, estimate, low, high); None for a number that is not finite."""

_PLACEHOLDER = re.compile(r"\{(\w+\.\w+:[^{}]+)\}")


def of(preset: str) -> Guide:
    """The guide of a preset; literal/ and wide/ presets share one with their experiment. An empty one if unknown."""
    name = preset.split("/")[-1]
    none = Guide(preset=name, place="", title=name, question="", paper="", done="", finding="", answer="", cost={})
    return {guide.preset: guide for guide in GUIDE}.get(name, none)


def numbers(preset: Preset) -> Numbers:
    """The statistics of draw 0 of a preset in the record."""
    return {
        claim: [
            (title, *values)
            for (title, _, _), values in zip(entry["criterion"], entry["draws"]["0"]["statistics"], strict=True)
        ]
        for claim, entry in preset["claims"].items()
        if "0" in entry["draws"]
    }


def measured(outcomes: Iterable[Outcome]) -> Numbers:
    """The statistics of claims that were just decided, to the digits of the record."""
    return {
        outcome.claim.id: [
            (statistic.title, rounded(statistic.estimate), rounded(statistic.low), rounded(statistic.high))
            for statistic in outcome.statistics
        ]
        for outcome in outcomes
    }


def fill(text: str, values: Numbers) -> str:
    """Replace each {claim:words} in a text by the statistic of that claim whose title begins with these words.

    Raises KeyError, with a list of the titles, unless exactly one title does.
    """

    def filled(match: re.Match[str]) -> str:
        named = statistic(values, match[1])
        if named is None:
            claim, words = match[1].split(":", 1)
            titles = ", ".join(title for title, *_ in values.get(claim, [])) or "none"
            raise KeyError(f"guide.yaml: not one statistic of {claim} begins with {words!r}; it has: {titles}")
        return uncertain(*named)

    return _PLACEHOLDER.sub(filled, text)


def statistic(values: Numbers, name: str) -> tuple[float | None, float | None, float | None] | None:
    """Estimate, low and high of the one statistic of a claim whose title begins so, ``claim:words``; None without."""
    claim, words = name.split(":", 1)
    named = [measured for title, *measured in values.get(claim, []) if title.startswith(words)]
    return (named[0][0], named[0][1], named[0][2]) if len(named) == 1 else None


def uncertain(estimate: float | None, low: float | None, high: float | None) -> str:
    """A number for people, with as many digits as its interval makes certain.

    >>> uncertain(-0.528, -0.597, -0.459), uncertain(0.548, 0.43, 0.698), uncertain(13.5, 13.5, 13.5)
    ('−0.53 ± 0.07', '0.55 [0.43, 0.70]', '13.5')
    """
    if estimate is None:
        return "–"
    if low is None or high is None or low == high:
        return number(estimate)
    half = (high - low) / 2
    first, _, exponent = f"{half:.1e}".partition("e")
    digits = max(0, -int(exponent) + (first[0] == "1"))
    shown = [f"{value:.{digits}f}".replace("-", "−") for value in (estimate, low, high, half)]
    if abs(low + high - 2 * estimate) < 0.2 * half:
        return f"{shown[0]} ± {shown[3]}"
    return f"{shown[0]} [{shown[1]}, {shown[2]}]"
