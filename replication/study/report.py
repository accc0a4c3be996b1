"""The claims as people read them: text for the terminal, Markdown (CLAIMS.md) and a self-contained HTML page."""

import base64
import html
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import statements
from .claims import Outcome
from .record import Record, headline, verdicts
from .statistics import Verdict

_COLUMNS = {
    "id": "Claim",
    "statement": "Statement",
    "paper": "Paper",
    "ours": "Ours [99.9 % interval] (range that the claim allows)",
    "measure": "Measured as",
    "verdict": "Verdict",
    "controls": "Negative control",
}


_OTHERS: dict[Verdict, str] = {"fails": "fail", "undecided": "undecided"}


@dataclass(frozen=True)
class Section:
    """The published results of one preset: its dataset's attributes, its claims, decided, and figures (name → PNG)."""

    preset: str
    attrs: Mapping[str, Any]
    outcomes: Sequence[Outcome]
    figures: Mapping[str, Path]

    @property
    def command(self) -> str:
        return f"python scripts/run.py +exp={self.preset}"

    @property
    def cost(self) -> str:
        """What the cells took, in words: time and, with revealed weights, the directions that a matrix revealed."""
        spent = f"{self.attrs['wall_time'] / 60:.1f} minutes of computing in {self.attrs['cells']} cells"
        if not self.attrs.get("largest_rank"):
            return spent
        part = self.attrs["largest_truncation"]
        return f"{spent}; at most {self.attrs['largest_rank']} directions of a matrix revealed, {part:.0e} dropped"


def text(outcomes: Sequence[Outcome]) -> str:
    """A table for the terminal: one line per statistic."""
    width = max(len(outcome.claim.id) for outcome in outcomes)
    lines = []
    for outcome in outcomes:
        for i, line in enumerate([*map(str, outcome.statistics), *outcome.objections]):
            head = f"{outcome.claim.id:{width}}  {outcome.verdict:9}" if i == 0 else " " * (width + 11)
            lines.append(f"{head}  {line}")
    return "\n".join(lines)


def markdown(sections: Sequence[Section], record: Record, folder: Path) -> str:
    """CLAIMS.md of a folder: every statement of the paper and what tests it, then the claims of each preset."""
    parts = [
        "# Claims",
        *([f"{headline(record)}."] if record else []),
        "Written by `python scripts/figures.py --publish` from the data beside this file. An interval has level "
        "99.9 %; a claim holds only if all intervals lie in the ranges that are allowed, and only while its negative "
        "controls, data of wrong theories, are rejected. The numbers are those of one draw of all random streams; "
        "`claims.json` has those of the draws that confirm, if there are any.",
        "## Every statement of the paper",
        statements.table(_verdicts(sections, record)),
    ]
    for section in sections:
        rows = _rows(section, record)
        parts += [
            f"## {section.preset}",
            f"`{section.command}`: {section.cost}.",
            " ".join(f"![{name}]({path.relative_to(folder).as_posix()})" for name, path in section.figures.items()),
            _markdown_table(list(_COLUMNS.values()), [[row[key] for key in _COLUMNS] for row in rows]),
        ]
    return "\n\n".join(parts) + "\n"


def readme(text: str, sections: Sequence[Section], record: Record) -> str:
    """The README with its claims table brought up to date, between the two markers."""
    begin, end = "<!-- claims -->\n", "<!-- /claims -->\n"
    head, _, rest = text.partition(begin)
    _, _, tail = rest.partition(end)
    own = [section for section in sections if "/" not in section.preset]
    parts = [f"{headline(record)}.\n"]
    for section in own:
        summary = f"<code>+exp={section.preset}</code>: {_tally(section.outcomes)}"
        parts.append(f"<details>\n<summary>{summary}</summary>\n\n{claims_table(section, record)}\n\n</details>\n")
    return head + begin + "\n".join(parts) + end + tail


def _tally(outcomes: Sequence[Outcome]) -> str:
    """How many claims hold, fail, or are undecided, in words."""
    counts = Counter(outcome.verdict for outcome in outcomes)
    others = [f"{counts[verdict]} {word}" for verdict, word in _OTHERS.items() if counts[verdict]]
    return ", ".join([f"{counts['holds']} of {len(outcomes)} hold", *others])


def claims_table(section: Section, record: Record) -> str:
    """The short table of the README: claim, statement, ours, verdict."""
    keys = ("id", "statement", "ours", "verdict")
    rows = _rows(section, record)
    return _markdown_table([_COLUMNS[key] for key in keys], [[row[key] for key in keys] for row in rows])


def page(sections: Sequence[Section], record: Record) -> str:
    """report.html: figures and claims in one file that opens from disk."""
    links = [f'<a href="#{section.preset}">{html.escape(section.preset)}</a>' for section in sections]
    body = [f'<nav>{" · ".join(links)} · <a href="#statements">every statement of the paper</a></nav>']
    for section in sections:
        body.append(f'<h2 id="{section.preset}">{html.escape(section.preset)}</h2>')
        body.append(f"<p><code>{html.escape(section.command)}</code>: {html.escape(section.cost)}.</p>")
        body.append("<div>")
        for name, path in section.figures.items():
            png = path.read_bytes()
            width = int.from_bytes(png[16:20]) // 2  # of the 200 pixels per inch in the file
            data = base64.b64encode(png).decode()
            body.append(f'<figure><img alt="{name}" width="{width}" src="data:image/png;base64,{data}">')
            body.append(f"<figcaption>{html.escape(name)}</figcaption></figure>")
        body.append("</div>")
        body.append(_html_table(section, record))
    body.append('<h2 id="statements">Every statement of the paper</h2>')
    body.append(_statement_table(_verdicts(sections, record)))
    return _PAGE.replace("BODY", "\n".join(body))


def _rows(section: Section, record: Record) -> list[dict[str, str]]:
    """The claims of a preset as rows of a table, with the verdict of all draws where the record has them."""
    own = _verdicts([section], {section.preset: record[section.preset]} if section.preset in record else {})
    return [outcome.row() | {"verdict": own[outcome.claim.id]} for outcome in section.outcomes]


def _verdicts(sections: Sequence[Section], record: Record) -> dict[str, str]:
    """What came of each claim, in words: in all draws where the record has them, else in the sections' own."""
    own = {outcome.claim.id: str(outcome.verdict) for section in sections for outcome in section.outcomes}
    return own | verdicts(record)


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _html_table(section: Section, record: Record) -> str:
    head = "".join(f"<th>{html.escape(title)}</th>" for title in _COLUMNS.values())
    lines = []
    for outcome, words in zip(section.outcomes, _rows(section, record), strict=True):
        row = words | {"ours": ";\n".join(map(str, outcome.statistics))}
        breakable = html.escape(row["id"]).replace(".", ".<wbr>").replace("_", "_<wbr>")
        escaped = {key: html.escape(row[key]) for key in _COLUMNS} | {"id": breakable}
        cells = "".join(f'<td class="{key}">{cell}</td>' for key, cell in escaped.items())
        lines.append(f'<tr class="{outcome.verdict}">{cells}</tr>')
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def _statement_table(verdicts: Mapping[str, str]) -> str:
    lines = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in statements.rows(verdicts)]
    head = "<tr><th>Place</th><th>Statement</th><th>Tested by</th><th>Verdict</th></tr>"
    return f"<table>{head}{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The Neural Tangent Kernel, replicated</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
div { display: flex; flex-wrap: wrap; gap: 1rem 2rem; align-items: flex-end; }
figure { margin: 0.5rem 0; }
img { max-width: 100%; height: auto; }
figcaption { color: #666; font-size: 0.85rem; }
table { border-collapse: collapse; font-size: 0.82rem; width: 100%; }
th, td { border-bottom: 1px solid #ddd; padding: 0.35rem 0.5rem; text-align: left; vertical-align: top; }
td.ours { white-space: pre-line; }
td.id { font-family: monospace; min-width: 8rem; }
tr.holds td.verdict { color: #17702a; font-weight: 600; }
tr.fails td.verdict { color: #b3261e; font-weight: 600; }
tr.undecided td.verdict { color: #8a6100; font-weight: 600; }
code { background: #f3f3f3; padding: 0.1rem 0.3rem; }
</style>
</head>
<body>
<h1>The Neural Tangent Kernel, replicated</h1>
<p>Jacot, Gabriel and Hongler (2018), arXiv 1806.07572. An interval has level 99.9 %; a claim holds only if the whole
interval lies where its criterion allows, and only while its negative control is rejected.</p>
BODY
</body>
</html>
"""
