"""Writes the README's headline and table, and docs/results.md, from the record of claims and the guide."""

from collections.abc import Sequence

from . import guide
from .record import Decision, Entry, Record, headline, held
from .statistics import number


def between(text: str, name: str, content: str) -> str:
    """A text with what stands between the comments <!-- name --> and <!-- /name --> replaced, and nothing else.

    Raises ValueError for a text without both.
    """
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    head, opened, rest = text.partition(begin)
    _, closed, tail = rest.partition(end)
    if not (opened and closed):
        raise ValueError(f"there are no {begin} and {end} to write between")
    return f"{head}{begin}{content}{end}{tail}"


def readme(text: str, record: Record) -> str:
    """The README brought up to date."""
    return between(text, "claims", f"\n{headline(record)}.\n\n{table(record)}\n{beyond(record)}")


def table(record: Record) -> str:
    """A row for each experiment, in the order to read them."""
    header = ("Experiment", "Place", "The paper says", "We find", "Claims that hold", "Minutes")
    return table_lines(header, [_row(item, record) for item in guide.GUIDE])


def table_lines(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in rows)


def beyond(record: Record) -> str:
    """What is new: the drift of the kernel, predicted; empty before it is published."""
    if "drift" not in record:
        return ""
    item = guide.of("drift")
    answer = guide.fill(item.answer, guide.numbers(record["drift"]))
    return f"\n**Beyond the paper.** {answer}\n\n![{item.title}](figures/drift.png)\n"


def _row(item: guide.Guide, record: Record) -> tuple[str, ...]:
    name, minutes = item.preset, item.cost[item.preset][0]
    if name not in record:
        return f"`{name}`", item.place, item.paper, "not published yet", "–", f"{minutes:g}"
    finding = guide.fill(item.finding, guide.numbers(record[name]))
    figure = f"[{name}](figures/{name}.png)"
    claims = f"[{held(record[name])}](docs/results.md#{name})"
    return figure, item.place, item.paper, finding, claims, f"{minutes:g}"


def results(record: Record) -> str:
    """docs/results.md: for each experiment the question, what was done, the answer and the figures."""
    parts = [
        "# What each experiment found\n",
        "Written by `python scripts/figures.py --readme` from the published claims; ± is half of a 99.9 % interval. "
        "[CLAIMS.md](../figures/CLAIMS.md) has every criterion.\n",
        f"{headline(record)}.\n",
    ]
    for item in guide.GUIDE:
        parts += [
            f"## {item.preset}\n",
            f"**{item.place}: {item.title[:1].lower()}{item.title[1:]}.** "
            f"`python scripts/run.py +exp={item.preset}`: {item.cost[item.preset][0]:g} min.\n",
            f"**Question.** {item.question}\n",
            f"**What was done.** {item.done}\n",
        ]
        if item.preset not in record:
            parts.append("Not published yet.\n")
            continue
        claims = f"Claims that hold: {held(record[item.preset])}."
        parts.append(f"**Answer.** {guide.fill(item.answer, guide.numbers(record[item.preset]))} {claims}\n")
        parts += [f"![{item.title}](../figures/{name}.png)\n\n*{text}*\n" for name, text in item.captions.items()]
        if f"literal/{item.preset}" in record:
            parts.append(beside(item.preset, record))
    return "\n".join(parts)


def beside(name: str, record: Record) -> str:
    """A table of the claims of a preset: by gradient flow and by the paper's own steps, both on draw 0."""
    flow, steps = (record[preset]["claims"] for preset in (name, f"literal/{name}"))
    header = ("Claim", "Its first statistic", "By gradient flow", "By the paper's steps")
    lines = [
        (f"`{claim}`", _title(flow[claim]), _came(flow[claim]), _came(steps[claim])) for claim in flow if claim in steps
    ]
    return (
        f"The paper's own steps (`python scripts/run.py +exp=literal/{name}`) beside gradient flow, by the first "
        f"statistic of each claim.\n\n{table_lines(header, lines)}\n"
    )


def _title(entry: Entry) -> str:
    return str(entry["criterion"][0][0])


def _came(entry: Entry) -> str:
    decision: Decision = entry["draws"]["0"]
    estimate, low, high = decision["statistics"][0]
    if estimate is None:
        return decision["verdict"]
    width = "" if low is None or high is None or low == high else f" [{number(low)}, {number(high)}]"
    return f"{decision['verdict']}: {number(estimate)}{width}"
