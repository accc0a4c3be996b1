"""What a reader is told of each preset (guide.yaml): question, what was done, answer, captions."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources

from omegaconf import OmegaConf

from .record import Record
from .statistics import number


@dataclass(frozen=True, kw_only=True)
class Guide:
    """A preset for people. captions: of each figure, sentences that can stand alone."""

    preset: str
    place: str
    title: str
    question: str
    done: str
    answer: str
    captions: Mapping[str, str] = field(default_factory=dict)


def _read() -> tuple[Guide, ...]:
    text = resources.files(__package__).joinpath("guide.yaml").read_text(encoding="utf-8")
    return tuple(Guide(preset=str(preset), **values) for preset, values in OmegaConf.create(text).items())


GUIDE = _read()
"""In the order to read them."""

_NUMBER = re.compile(r"\{(\w+\.\w+)(?::(\d+))?\}")


def of(preset: str) -> Guide:
    """The guide of a preset; that of the same experiment for literal/ and wide/ ones."""
    own = {guide.preset: guide for guide in GUIDE}
    return own[preset.split("/")[-1]]


def answer(guide: Guide, record: Record) -> str:
    """The answer with the numbers of draw 0. Raises KeyError for a claim or a statistic that there is not."""
    claims = record[guide.preset]["claims"]

    def filled(match: re.Match[str]) -> str:
        name, index = match[1], int(match[2] or 0)
        statistics = claims[name]["draws"]["0"]["statistics"]
        if index >= len(statistics):
            raise KeyError(f"{guide.preset}: {match[0]}, but {name} has {len(statistics)} statistics")
        estimate = statistics[index][0]
        return "–" if estimate is None else number(estimate)

    return _NUMBER.sub(filled, guide.answer)
