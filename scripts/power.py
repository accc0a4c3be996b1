"""How often the claims of presets hold on fresh draws, and how often their controls are rejected.

    python scripts/power.py ci/theorem1 ci/theorem2      20 draws of each, computed where they are not stored
    python scripts/power.py --draws 5 prop2              fewer draws
    python scripts/power.py --calculate theorem1         from the spread in one draw of a dear preset: no new networks

A claim is decided well if it holds in 99 of 100 independent replications. Draws 0, 1 and 2 are not among those used:
criteria are chosen on draw 0, and verdicts are those of draws 1 and 2, which nobody looks at before.
"""

import argparse
import json
import math
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import process
from cells import computed
from compose import preset, typed

if TYPE_CHECKING:
    from replication.study.claims import Outcome

FIRST = 100
"""The first of the draws: 0 is the one that criteria are chosen on, the next ones confirm."""


def decided(name: str, overrides: Sequence[str]) -> "list[Outcome]":
    """The claims of a preset, decided; what is missing in the store is computed. Raises RunError for a failed cell."""
    from replication.study.claims import decide

    experiment, config = typed(preset(name, *overrides))
    return decide(experiment.claims_of(config.claims), computed(experiment, config))


def power(name: str, draws: int, overrides: Sequence[str]) -> dict[str, dict[str, Counter[str]]]:
    """Claim → {"": how often it got each verdict, control: how often the control did}."""
    table: dict[str, dict[str, Counter[str]]] = {}
    for draw in range(FIRST, FIRST + draws):
        for outcome in decided(name, [*overrides, f"draw={draw}"]):
            rows = table.setdefault(outcome.claim.id, {"": Counter()})
            rows[""][outcome.verdict] += 1
            for control, verdict in outcome.controls.items():
                rows.setdefault(control, Counter())[verdict] += 1
    return table


def calculated(name: str, overrides: Sequence[str]) -> dict[str, float]:
    """Claim → the probability that it holds in a fresh draw, by the normal law, were this draw the truth.

    The least of its statistics; the standard error is an interval's half-width over the normal law's quantile. A lowest
    allowed 0 is never crossed: it is the bound of what cannot be negative.
    """
    from scipy.special import ndtr, ndtri

    from replication.study.statistics import LEVEL

    quantile = float(ndtri((1 + LEVEL) / 2))
    result = {}
    for outcome in decided(name, overrides):
        least = 1.0
        for statistic in outcome.statistics:
            error, (low, high) = (statistic.high - statistic.low) / 2 / quantile, statistic.allowed
            if not error > 0:  # compared as it is, or not a number
                least = min(least, float(statistic.verdict == "holds"))
                continue
            rooms = (high - statistic.high) / error, (low - statistic.low) / error if low else -math.inf
            least = min(least, max(0.0, float(ndtr(rooms[0]) - ndtr(rooms[1])))) if math.isfinite(error) else 0.0
        result[outcome.claim.id] = least
    return result


def show(name: str, table: dict[str, dict[str, Counter[str]]]) -> None:
    """A line for each claim, and for each of its controls that was not always rejected."""
    print(f"\n{name}: verdicts in {sum(next(iter(table.values()))[''].values())} draws")
    for claim, rows in table.items():
        for control, counts in rows.items():
            if control and set(counts) == {"fails"}:
                continue
            words = ", ".join(f"{counts[verdict]} {verdict}" for verdict in ("holds", "undecided", "fails"))
            print(f"  {claim:34} {words}" if not control else f"  {'':34} {words} for the control: {control}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="+", metavar="PRESET")
    parser.add_argument("--draws", type=int, default=20, help="how many fresh draws (default: 20)")
    parser.add_argument("--calculate", action="store_true", help="from the spread in draw 0 of the store instead")
    parser.add_argument("--results", default="results", help="folder of the results store (default: results)")
    parser.add_argument("--workers", type=int, help="processes (default: all cores)")
    parser.add_argument("--json", type=Path, help="write the counts to this file, too")
    arguments = parser.parse_args()
    overrides = [f"results={arguments.results}", f"workers={arguments.workers or 'null'}"]
    tables: dict[str, object] = {}
    for name in arguments.presets:
        if arguments.calculate:
            tables[name] = probabilities = calculated(name, overrides)
            print(f"\n{name}: probability to hold in a fresh draw")
            for claim, probability in probabilities.items():
                print(f"  {claim:34} {probability:.4f}")
        else:
            tables[name] = table = power(name, arguments.draws, overrides)
            show(name, table)
        if arguments.json:
            arguments.json.write_text(json.dumps(tables, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(process.run(main))
