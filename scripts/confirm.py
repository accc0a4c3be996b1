"""Decide the claims of published presets on their confirming draws, or check that the criteria were committed before.

    python scripts/confirm.py fig1          compute the confirming draws of a preset: twice the time of a run
    python scripts/confirm.py               the same for every published preset
    python scripts/confirm.py --solver fig1 compute a few networks with half the tolerance, which --publish needs
    python scripts/confirm.py --check       from git: each criterion was committed before its draws were computed

Criteria, widths and numbers of networks must be those of the committed figures/claims.json: publish draw 0, commit,
then confirm. Verdicts are written to that file, once: a draw that it contains is not decided again.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import process
from cells import computed
from compose import preset, typed
from process import RunError

if TYPE_CHECKING:
    from replication.study.record import Record

ROOT = Path(__file__).parents[1]
CLAIMS = ROOT / "figures" / "claims.json"


def confirm(name: str, results: str) -> "Record":
    """The committed record with the confirming draws of a preset. Each is written to the file once it is decided.

    A draw decides only the claims that still need it.

    Raises RunError if the tree is not clean, if the preset or a criterion is not the committed one, if a cell fails, or
    if a stored cell was computed before the criterion was committed: another ``--results`` computes it again.
    """
    from replication.study.claims import decide
    from replication.study.provenance import git_state, objections
    from replication.study.record import pending, settings, solver_errors, unlike, update

    record = read()
    refuse(name, unlike(record, name, typed(preset(name))[1]))
    for draw, claims in pending(record[name]).items():
        experiment, config = typed(preset(name, f"draw={draw}", f"results={results}"))
        _, dirty = git_state()
        refuse(name, ["the tree has uncommitted changes, or is in no git repository"] if dirty is not False else [])
        dataset = computed(experiment, config).assign_attrs(solver=solver_errors(record[name]))
        refuse(name, objections(dataset))
        outcomes = decide(experiment.claims_of(claims), dataset)
        refuse(name, unlike(record, name, config, outcomes))
        decided = update(record, name, settings(config), dataset.attrs, outcomes)
        refuse(name, late(decided, name))  # cells that another preset shares may be older than the criterion
        write(record := decided)
    return record


def late(record: "Record", name: str) -> list[str]:
    """Evidence from git that criteria of a preset were not committed before its confirming draws were computed."""
    from replication.study.provenance import file_at
    from replication.study.record import precedes

    path = CLAIMS.relative_to(ROOT).as_posix()
    return precedes(record, name, lambda commit: file_at(commit, path))


def halve(name: str, results: str) -> None:
    """Compute the cells that ``solver.solver_errors`` needs, on draw 0. Raises RunError for failed cells."""
    from replication.study.solver import few_networks

    experiment, config = typed(preset(name, f"results={results}"))
    for half in (False, True):
        computed(few_networks(experiment, half=half), config)


def refuse(name: str, reasons: list[str]) -> None:
    """Raise RunError with the reasons, if there are any."""
    if reasons:
        raise RunError("\n".join(f"{name}: {reason}" for reason in reasons))


def read() -> "Record":
    """The record of the published claims; empty without the file."""
    return read_json(CLAIMS) if CLAIMS.exists() else {}


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises RunError, with its name, if it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path} is not JSON: {error}") from None


def write(record: "Record") -> None:
    """Write the record, with one line for each statistic and draw."""
    from replication.study.record import text
    from replication.study.store import write_file

    write_file(CLAIMS, text(record))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="*", metavar="PRESET", help="default: all published presets")
    parser.add_argument("--check", action="store_true", help="compute nothing; check the order of commits")
    parser.add_argument("--solver", action="store_true", help="compute the solver's error")
    parser.add_argument("--results", default="results", help="folder of the results store (default: results)")
    arguments = parser.parse_args()
    names = arguments.presets or list(read())
    if not names:
        raise RunError(f"no claims are published in {CLAIMS}")
    for name in names:
        preset(name)  # raises UserError for an unknown name
    if arguments.check:
        from replication.study.record import headline

        record = read()
        if lines := [line for name in names for line in late(record, name)]:
            raise RunError("\n".join(lines))
        print(headline(record))
    elif arguments.solver:
        for name in names:
            halve(name, arguments.results)
    else:
        from replication.study.record import verdict

        for name in names:
            record = confirm(name, arguments.results)
            for claim, entry in record[name]["claims"].items():
                print(f"{claim:34} {verdict(entry)}")


if __name__ == "__main__":
    sys.exit(process.run(main, "interrupted; what was finished is stored, and the same command goes on from there"))
