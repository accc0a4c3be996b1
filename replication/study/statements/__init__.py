"""Every statement of the paper, in our own words, with the claims that test it.

`STATEMENTS` follows the paper (arXiv 1806.07572 v4) from the abstract to the appendix. A statement is tested by
claims, or has a note that says why it needs no test or allows none, or is not yet tested. The last statements go beyond
the paper. `table` renders all of them.
"""

from collections.abc import Mapping, Sequence

from .experiments import BEYOND, CONCLUSION_AND_APPENDIX, EXPERIMENTS
from .statement import Statement
from .theory import ABSTRACT, INTRODUCTION, KERNEL_GRADIENT, LEAST_SQUARES, NETWORKS, NEURAL_TANGENT_KERNEL

STATEMENTS: tuple[Statement, ...] = (
    *ABSTRACT,
    *INTRODUCTION,
    *NETWORKS,
    *KERNEL_GRADIENT,
    *NEURAL_TANGENT_KERNEL,
    *LEAST_SQUARES,
    *EXPERIMENTS,
    *CONCLUSION_AND_APPENDIX,
    *BEYOND,
)


def table(verdicts: Mapping[str, str], statements: Sequence[Statement] = STATEMENTS) -> str:
    """A Markdown table of the statements, given the verdict of each claim that was run.

    >>> print(table({"a.b": "holds"}, [Statement("§1", "It is so.", ("a.b",)), Statement("§2", "So is this.")]))
    | Place | Statement | Tested by | Verdict |
    |---|---|---|---|
    | §1 | It is so. | `a.b` | holds |
    | §2 | So is this. | – | not yet tested |
    """
    lines = [("Place", "Statement", "Tested by", "Verdict"), *rows(verdicts, statements)]
    header, *body = ["| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines]
    return "\n".join([header, "|---|---|---|---|", *body])


def rows(verdicts: Mapping[str, str], statements: Sequence[Statement] = STATEMENTS) -> list[tuple[str, str, str, str]]:
    """(place, statement, claims that test it, verdict) for each statement, given the verdict of each claim."""
    return [_row(statement, verdicts) for statement in statements]


def _row(statement: Statement, verdicts: Mapping[str, str]) -> tuple[str, str, str, str]:
    if not statement.claims:
        return statement.place, statement.text, "–", statement.note or "not yet tested"
    tested_by = ", ".join(f"`{claim}`" for claim in statement.claims)
    if statement.note:
        tested_by += f" ({statement.note})"
    decided = [verdicts.get(claim, "not run") for claim in statement.claims]
    if len(decided) > 1:
        decided = [f"`{claim}`: {verdict}" for claim, verdict in zip(statement.claims, decided, strict=True)]
    return statement.place, statement.text, tested_by, "; ".join(decided)
