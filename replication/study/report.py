"""The claims for people: text for the terminal, Markdown (CLAIMS.md) and a self-contained HTML page."""

import base64
import io
import json
import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape
from PIL import Image

from . import guide, statements
from .claims import Outcome
from .picture import pictures
from .record import Entry, Record, headline, verdicts
from .statistics import number
from .statistics import words as in_words

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("replication.study"),
    autoescape=lambda name: name is not None and name.endswith(".html.j2"),
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    undefined=jinja2.StrictUndefined,
)


_BASE = r"(?:(?<![^\W\d_])(?:sup|max|min|[^\W\d_])|(?<=[^\s\w])|(?<=[₀-₉⁰-⁹]))"
_INDEX = r"(∞|\d+|(?:min|max|[^\W\d_])(?![^\W\d_]))"


def mathematics(text: str) -> Markup:
    """Plain text as HTML, with what stands in braces after ^ or _, or is an index of one letter, raised and lowered."""
    text = str(escape(text))
    for sign, tag in (("^", "sup"), ("_", "sub")):
        text = re.sub(rf"\{sign}\{{([^{{}}]*)\}}", rf"<{tag}>\1</{tag}>", text)
        text = re.sub(rf"({_BASE})\{sign}{_INDEX}", rf"\1<{tag}>\2</{tag}>", text)
    return Markup(text)


_TEMPLATES.filters["mathematics"] = mathematics
_SHADES = 64
"""Number of colours of a figure in the page: the file is smaller, and the eye sees no difference."""


@dataclass(frozen=True)
class Section:
    """The results of one preset: attributes of its dataset, outcomes of its claims, and figures (name → PNG).

    plot: the data of a plot with a slider, see report.js; None without one.
    """

    preset: str
    attrs: Mapping[str, Any]
    outcomes: Sequence[Outcome]
    figures: Mapping[str, Path]
    plot: Mapping[str, Any] | None = None

    @property
    def command(self) -> str:
        return f"python scripts/run.py +exp={self.preset}"

    @property
    def cost(self) -> str:
        """The cost of the cells in words: time and, with revealed weights, the number of revealed directions."""
        spent = f"{self.attrs['wall_time'] / 60:.1f} minutes of computing in {self.attrs['cells']} cells"
        if not self.attrs.get("largest_rank"):
            return spent
        part = self.attrs["largest_truncation"]
        return f"{spent}; at most {self.attrs['largest_rank']} directions of a matrix revealed, {part:.0e} dropped"


def words(preset: str, outcomes: Sequence[Outcome]) -> str:
    """The result for the terminal: the experiment's question and answer, then each claim as a sentence."""
    own = guide.of(preset)
    lines = [own.question]
    with suppress(KeyError):  # with other widths a statistic may be missing
        lines.append(guide.fill(own.answer, guide.measured(outcomes)))
    lines = [line for part in lines for line in textwrap.wrap(part, 118)]
    for verdict in ("holds", "undecided", "fails"):
        statements = [outcome.claim.statement for outcome in outcomes if outcome.verdict == verdict]
        if statements:
            claims = f"{len(statements)} claim{'s' if len(statements) > 1 else ''}"
            lines += ["", f"{_HEADINGS[verdict]} ({claims}):"]
        for statement in statements:
            lines += textwrap.wrap(statement, 118, initial_indent="- ", subsequent_indent="  ")
    return "\n".join(lines)


_HEADINGS = {"holds": "It holds that", "undecided": "It is undecided whether", "fails": "It does not hold that"}


def text(outcomes: Sequence[Outcome]) -> str:
    """A table for the terminal, with one line for each statistic."""
    width = max(len(outcome.claim.id) for outcome in outcomes)
    lines = []
    for outcome in outcomes:
        for i, line in enumerate([*map(str, outcome.statistics), *outcome.objections]):
            head = f"{outcome.claim.id:{width}}  {outcome.verdict:9}" if i == 0 else " " * (width + 11)
            lines.append(f"{head}  {line}")
    return "\n".join(lines)


def markdown(sections: Sequence[Section], record: Record, folder: Path) -> str:
    """CLAIMS.md of a folder: the statements of the paper with the claims that test them, then each preset's claims."""
    return _TEMPLATES.get_template("claims.md.j2").render(
        headline=headline(record) if record else "",
        statements=statements.table(_verdicts(sections, record)),
        sections=[
            {
                "preset": section.preset,
                "command": section.command,
                "cost": section.cost,
                "links": " ".join(
                    f"![{name}]({path.relative_to(folder).as_posix()})" for name, path in section.figures.items()
                ),
                "rows": _rows(section, record),
            }
            for section in sections
        ],
    )


def page(sections: Sequence[Section], record: Record) -> str:
    """report.html: all claims at a glance, figures, claims as pictures, and statements, in one file."""
    order = {item.preset: place for place, item in enumerate(guide.GUIDE)}
    ordered = sorted(
        sections, key=lambda item: ("/" in item.preset, order.get(guide.of(item.preset).preset, len(order)))
    )
    return _TEMPLATES.get_template("report.html.j2").render(
        headline=headline(record),
        sections=[_section(section, record) for section in ordered],
        statements=statements.rows(verdicts(record)),
    )


def _section(section: Section, record: Record) -> dict[str, Any]:
    own, preset = guide.of(section.preset), record[section.preset]
    whole = "/" not in section.preset
    anchor = section.preset.replace("/", "-")
    return {
        "preset": section.preset,
        "anchor": anchor,
        "guide": own,
        "whole": whole,
        "heading": own.title if whole else f"{section.preset}: {own.title}",
        "command": section.command,
        "cost": section.cost,
        "answer": guide.fill(own.answer, guide.numbers(preset)) if whole else "",
        "interactive": _interactive(section.plot),
        "images": [_image(path, own.captions.get(name, name)) for name, path in section.figures.items()],
        "claims": [_claim(row, preset["claims"][row["id"]], anchor) for row in _rows(section, record)],
    }


def _claim(row: Mapping[str, str], entry: Entry, anchor: str) -> dict[str, Any]:
    names = [name for name, *_ in entry["criterion"]]
    table = [
        [name, in_words((-math.inf if low is None else low, math.inf if high is None else high))]
        + [_interval(decision["statistics"][i]) for decision in entry["draws"].values()]
        for i, (name, low, high) in enumerate(entry["criterion"])
    ]
    return {
        "id": row["id"],
        "anchor": f"{anchor}-{row['id']}",
        "row": row,
        "entry": entry,
        "verdict": row["verdict"],
        "colour": _colour(row["verdict"]),
        "pictures": list(zip(names, pictures(entry), strict=True)),
        "table": table,
    }


def _colour(verdict: str) -> str:
    """The CSS class of a verdict."""
    if verdict == "verified":
        return "identity"
    if "fails" in verdict or verdict == "not verified":
        return "fails"
    return "undecided" if "undecided" in verdict else "holds"


def _interval(numbers: Sequence[float | None]) -> str:
    estimate, low, high = ("–" if value is None else number(value) for value in numbers)
    return estimate if low == high == estimate else f"{estimate} [{low}, {high}]"


def _image(path: Path, caption: str) -> dict[str, Any]:
    with Image.open(path) as image:
        width, height = image.size
        data = io.BytesIO()
        image.convert("RGB").quantize(_SHADES, dither=Image.Dither.NONE).save(data, "PNG", optimize=True)
    return {
        "caption": caption,
        "width": width // 2,  # of the 200 pixels per inch in the file
        "height": height // 2,
        "data": base64.b64encode(data.getvalue()).decode(),
    }


def _interactive(plot: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if plot is None:
        return None
    data = json.dumps(plot, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return {"data": Markup(data), **{name: plot[name] for name in ("label", "slider", "caption")}}


def _rows(section: Section, record: Record) -> list[dict[str, str]]:
    """The claims of a preset as rows of a table, with the verdict of all draws if the record has it."""
    own = _verdicts([section], {section.preset: record[section.preset]} if section.preset in record else {})
    return [outcome.row() | {"verdict": own[outcome.claim.id]} for outcome in section.outcomes]


def _verdicts(sections: Sequence[Section], record: Record) -> dict[str, str]:
    """The verdict of each claim in words: over all draws if the record has it, else that of the section."""
    own = {outcome.claim.id: str(outcome.verdict) for section in sections for outcome in section.outcomes}
    return own | verdicts(record)
