"""What the benchmark found, of figures/benchmark.json: the table of docs/speed.md and the README's words."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from .readme import between, table_lines
from .statistics import number

Row = dict[str, Any]
NOT_MEASURED = "not measured yet"
RATE = "GFLOP/s"
FIGURE = """
![The errors of f and of Θ by each solver, against seconds and against products](../figures/work_precision.png)

*The errors at t = 200 of a network of Figure 1 with 128 inputs, by each solver at several tolerances or rates: against
the time and against the products with n × n matrices. Each point is one run. Errors are distances from gradient flow of
order 2 in float64; dotted: how far the same flow is from it with twice the tolerance.*
"""


class Comparison(NamedTuple):
    """Ours beside the alternative at one size, both seconds, milliseconds or rates; other: None where it cannot run."""

    place: str
    ours: float
    other: float | None
    unit: str

    @property
    def ratio(self) -> float | None:
        """How many times as fast ours is."""
        if self.other is None:
            return None
        return self.ours / self.other if self.unit == RATE else self.other / self.ours


@dataclass(frozen=True)
class Subject:
    """A line of the summary: a table of the benchmark, what it measures, beside what; headline: that in the README."""

    table: str
    what: str
    alternative: str
    compare: Callable[[Sequence[Row]], list[Comparison]]
    headline: str = ""


def _columns(ours: str, other: str, unit: str, rows: Sequence[Row]) -> list[Comparison]:
    """Two columns side by side."""
    return [Comparison(_place(row), row[ours], _measured(row[other]), unit) for row in rows]


def _best(rows: Sequence[Row]) -> list[Comparison]:
    """Of the table "products": the way of DenseWeight, and the best one."""
    return [Comparison(_place(row), row["DenseWeight"], row["DenseWeight"] / row["ratio"], RATE) for row in rows]


def _figure_3(rows: Sequence[Row]) -> list[Comparison]:
    """Each flow beside descent."""
    (descent,) = (row["s"] for row in rows if row["solver"] == "descent")
    return [Comparison(_place(row), row["s"], descent, "s") for row in rows if row["solver"] != "descent"]


def _precision(solver: str, rows: Sequence[Row]) -> list[Comparison]:
    """Each run of a solver, and the fastest flow there that errs no more, neither in f nor in Θ, if there is one."""
    runs = [row for row in rows if row["solver"] == solver]
    flows = [row for row in rows if row["solver"].startswith("gradient flow")]
    matched = []
    for run in runs:
        seconds = [flow["s"] for flow in flows if flow["n"] == run["n"] and _no_worse(flow, run)]
        if seconds:
            matched.append((run, min(seconds)))
    counted = f"{len(matched)} of {len(runs)} runs"
    return [Comparison(f"{_place(run)} ({counted})", seconds, run["s"], "s") for run, seconds in matched]


def _no_worse(row: Row, other: Row) -> bool:
    return all(row[error] <= other[error] for error in ("error of f", "error of Θ"))


def _help(rows: Sequence[Row]) -> list[Comparison]:
    return [Comparison("", row["s"], None, "s") for row in rows]


def _place(row: Row) -> str:
    sizes = [f"{name} = {row[name]}" for name in ("n", "N", "N'") if name in row]
    return ", ".join(sizes + [str(row[name]) for name in ("product", "σ", "dtype") if name in row])


def _measured(value: Any) -> float | None:
    return value if isinstance(value, float) else None


SUBJECTS = (
    Subject("products", "a product of N rows with a square matrix", "the best of all ways", _best),
    Subject(
        "step", "a gradient step", "its products at the best rate", partial(_columns, "step", "best product", RATE)
    ),
    Subject(
        "kernel",
        "the NTK of a network",
        "Jacobians of `torch.func`",
        partial(_columns, "ms", "torch.func ms", "ms"),
        "Jacobians",
    ),
    Subject("limit", "Θ_∞", "neural-tangents, jitted", partial(_columns, "ms", "neural-tangents ms", "ms")),
    Subject(
        "precision",
        "gradient flow to t = 200",
        "descent whose errors are no smaller",
        partial(_precision, "gradient descent"),
    ),
    Subject("precision", "the same", "DOP853 whose errors are no smaller", partial(_precision, "DOP853")),
    Subject(
        "ensemble", "narrow networks together", "one by one", partial(_columns, "together ms", "one by one ms", "ms")
    ),
    Subject(
        "fig3",
        "Figure 3 by gradient flow",
        "by its 4000 steps",
        _figure_3,
        "Figure 3's 4000 steps",
    ),
    Subject("revealed", "revealed weights: draw, NTK", "dense ones", partial(_columns, "revealed s", "dense s", "s")),
    Subject("help", "`scripts/run.py --help`", "–", _help),
)


def page(text: str, content: Row | None) -> str:
    """docs/speed.md brought up to date; content: of figures/benchmark.json, None without the file."""
    return between(text, "benchmark", f"\n{summary(content)}\n")


def line(text: str, content: Row | None) -> str:
    """The README brought up to date."""
    return between(text, "speed", headline(content))


def headline(content: Row | None) -> str:
    """The ratios that tell most, at the largest size of each."""
    said = []
    for subject, comparisons in _compared(content):
        ratio = _largest(comparisons).ratio
        if subject.headline and ratio is not None:
            said.append(f"{number(ratio, 2)} × {subject.headline}")
    return f"speed of {', '.join(said)}" if said else NOT_MEASURED


def summary(content: Row | None) -> str:
    """A line for each benchmark that was run, the machine, and the figure of work and precision."""
    if content is None:
        return f"{NOT_MEASURED.capitalize()}."
    machine = content["machine"]
    measured = (
        f"Measured on {machine['cores']} cores ({machine['cpu']}, {number(machine['GiB'], 2)} GiB, PyTorch "
        f"{machine['torch']}). Each line is that of the largest size; the last column has the least and the greatest "
        "ratio of all sizes.\n"
    )
    lines = []
    for subject, comparisons in _compared(content):
        shown = _largest(comparisons)
        ratios = [comparison.ratio for comparison in comparisons if comparison.ratio is not None]
        other = "–" if shown.other is None else f"{number(shown.other)} {shown.unit}"
        cells = (
            subject.what,
            shown.place or "–",
            f"{number(shown.ours)} {shown.unit}",
            f"{subject.alternative}: {other}" if subject.alternative != "–" else "–",
            "–" if shown.ratio is None else number(shown.ratio, 2),
            f"{number(min(ratios), 2)} … {number(max(ratios), 2)}" if len(ratios) > 1 else "–",
        )
        lines.append(cells)
    table = table_lines(("", "Size", "Ours", "Alternative", "Times as fast", "All sizes"), lines)
    return "\n".join([measured, table, *([FIGURE.rstrip()] if "precision" in content["tables"] else [])])


def _compared(content: Row | None) -> list[tuple[Subject, list[Comparison]]]:
    """Each subject that has something to say."""
    tables = {} if content is None else content["tables"]
    all_compared = [
        (subject, subject.compare(tables[subject.table]["rows"])) for subject in SUBJECTS if subject.table in tables
    ]
    return [(subject, comparisons) for subject, comparisons in all_compared if comparisons]


def _largest(comparisons: Sequence[Comparison]) -> Comparison:
    """The last that has an alternative; else the last."""
    return next((one for one in reversed(comparisons) if one.ratio is not None), comparisons[-1])
