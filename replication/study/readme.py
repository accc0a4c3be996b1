"""The README's headline and table, and docs/results.md, made of the record of claims and of the guide."""

from . import guide
from .record import Record, headline, held


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
    return between(text, "claims", f"\n{headline(record)}.\n\n{table(record)}\n")


def table(record: Record) -> str:
    """A row for each experiment, in the order to read them."""
    header = ("Experiment", "Place", "The paper says", "We find", "Claims that hold", "Minutes")
    lines = [header, ("---",) * len(header), *(_row(item, record) for item in guide.GUIDE)]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)


def _row(item: guide.Guide, record: Record) -> tuple[str, ...]:
    name, minutes = item.preset, item.cost[item.preset][0]
    if name not in record:
        return f"`{name}`", item.place, item.paper, "not published yet", "–", f"{minutes:g}"
    finding = guide.fill(item.finding, guide.numbers(record[name]))
    figure = f"[{name}](figures/{name}.png)"
    claims = f"[{held(record[name])}](docs/results.md#{name})"
    return figure, item.place, item.paper, finding, claims, f"{minutes:g}"


def results(record: Record) -> str:
    """docs/results.md: of each experiment the question, what was done, what was found, and its figures."""
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
    return "\n".join(parts)
