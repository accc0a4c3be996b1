"""How often the claims of presets hold on fresh draws, and how often their controls are rejected.

    python scripts/power.py ci/theorem1 ci/theorem2      20 draws of each; missing cells are computed
    python scripts/power.py --draws 5 prop2              fewer draws
    python scripts/power.py --calculate theorem1         from the published spread: no new networks, for slow presets

The aim is that a true claim holds in 99 of 100 independent replications. Draws 0, 1 and 2 are not used: criteria are
chosen on draw 0, and draws 1 and 2 decide, which nobody may look at before.
"""

import argparse
import json
import math
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING

import process
from cells import computed
from compose import preset, typed
from confirm import read
from process import UserError

if TYPE_CHECKING:
    from replication.study.claims import Outcome
    from replication.study.record import Preset
    from replication.study.statistics import Statistic

NORMAL = NormalDist()

FIRST = 100
"""The first draw: criteria are chosen on draw 0, and the next ones confirm."""


def decided(name: str, overrides: Sequence[str]) -> "list[Outcome]":
    """The outcomes of a preset's claims; missing cells are computed. Raises RunError for a failed cell."""
    from replication.study.claims import decide

    experiment, config = typed(preset(name, *overrides))
    return decide(experiment.claims_of(config.claims), computed(experiment, config))


def power(name: str, draws: int, overrides: Sequence[str]) -> dict[str, dict[str, Counter[str]]]:
    """Claim → {"": how often it had each verdict, name of a control: how often the control had each}."""
    table: dict[str, dict[str, Counter[str]]] = {}
    for draw in range(FIRST, FIRST + draws):
        for outcome in decided(name, [*overrides, f"draw={draw}"]):
            rows = table.setdefault(outcome.claim.id, {"": Counter()})
            rows[""][outcome.verdict] += 1
            for control, verdict in outcome.controls.items():
                rows.setdefault(control, Counter())[verdict] += 1
    return table


def calculated(published: "Preset") -> dict[str, float]:
    """Claim → the probability that it holds in a fresh draw, by the normal law, if its published draw 0 were the truth.

    It is the least of three kinds of probabilities: that a statistic lies in its range, that a control is rejected by
    some statistic, and that a statistic rejects some control.
    """
    from replication.study.recorded import statistics

    result = {}
    for claim, entry in published["claims"].items():
        own = entry["draws"]["0"]
        rejected = [[outside(one) for one in statistics(entry, numbers)] for numbers in own["controls"].values()]
        result[claim] = min(
            *map(inside, statistics(entry, own["statistics"])),
            *(max(row) for row in rejected),
            *(max(column) for column in zip(*rejected, strict=True)),
            1.0,
        )
    return result


def inside(statistic: "Statistic") -> float:
    """The probability that a statistic's interval lies in its range.

    If the interval ends at 0 and 0 is the lowest allowed number, the statistic cannot be negative: no bound is needed.
    """
    low, high = statistic.allowed
    if low == statistic.low == 0:
        low = -math.inf
    if not math.isfinite(error := standard_error(statistic)):
        return 0.0
    return max(0.0, NORMAL.cdf((high - statistic.high) / error) - NORMAL.cdf((low - statistic.low) / error))


def outside(statistic: "Statistic") -> float:
    """The probability that a statistic's whole interval lies outside its range."""
    low, high = statistic.allowed
    if not math.isfinite(error := standard_error(statistic)):
        return 0.0
    return NORMAL.cdf((low - statistic.high) / error) + NORMAL.cdf((statistic.low - high) / error)


def standard_error(statistic: "Statistic") -> float:
    """Half of the interval over the normal law's quantile.

    A number without an interval gets a tiny one, so that the probabilities are 0 or 1.
    """
    from replication.study.statistics import LEVEL

    quantile = NORMAL.inv_cdf((1 + LEVEL) / 2)
    return max((statistic.high - statistic.low) / 2 / quantile, sys.float_info.min)


def show(name: str, table: dict[str, dict[str, Counter[str]]]) -> None:
    """Print a line for each claim, and for each of its controls that was not always rejected."""
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
    parser.add_argument("--draws", type=int, default=20, help="number of fresh draws (default: 20)")
    parser.add_argument("--calculate", action="store_true", help="use the published spread of draw 0 instead")
    parser.add_argument("--results", default="results", help="folder of the results store (default: results)")
    parser.add_argument("--workers", type=int, help="processes (default: all cores)")
    parser.add_argument("--json", type=Path, help="also write the counts to this file")
    arguments = parser.parse_args()
    overrides = [f"results={arguments.results}", f"workers={arguments.workers or 'null'}"]
    tables: dict[str, object] = {}
    for name in arguments.presets:
        if arguments.calculate:
            if name not in (record := read()):
                raise UserError(f"{name} has no published claims; presets that have: {', '.join(record) or 'none'}")
            tables[name] = probabilities = calculated(record[name])
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
