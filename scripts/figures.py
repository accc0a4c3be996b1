"""Redraw the published figures, the claims and the report from stored data. No network is computed.

    python scripts/figures.py                        from figures/*.nc into results/figures, to look at
    python scripts/figures.py fig1                   only the figures of one preset
    python scripts/figures.py --publish              from figures/*.nc into figures/, after a change of a plot
    python scripts/figures.py --publish fig1         first copy the data of a preset from the results store
    python scripts/figures.py --readme               the generated parts of the README and docs, from figures/*.json

Only --publish writes figures/ (and the files of --readme). It accepts presets at the paper's widths, if all their cells
are stored. Two figures show benchmarks: `make benchmark` writes their data.
"""

import argparse
import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import process
from compose import preset, typed
from confirm import read, read_json
from process import RunError, UserError

if TYPE_CHECKING:
    from replication.study.record import Record

ROOT = Path(__file__).parents[1]
PUBLISHED = ROOT / "figures"
README = ROOT / "README.md"
RESULTS = ROOT / "docs" / "results.md"
SPEED = ROOT / "docs" / "speed.md"
BENCHMARK = PUBLISHED / "benchmark.json"
UNMARKED = {"fig2": 1, "fig3": 1, "theorem2": 3}
"""Versions of data that were published without a version, before provenance was kept, of experiments that changed."""


def collect(name: str, results: str) -> None:
    """Copy the assembled data of a preset from the store to the published data."""
    from replication.study.gather import MissingCellError, gather
    from replication.study.provenance import objections
    from replication.study.solver import few_networks, solver_errors
    from replication.study.store import Store, write_dataset

    if name.startswith("ci/"):
        raise UserError(f"{name}: a reduced preset is not published")
    experiment, config = typed(preset(name))
    store, command, reasons = Store(results), f"run.py +exp={name}", []
    try:
        dataset = gather(experiment, config, store)
        plain, fine = (few_networks(experiment, half=half) for half in (False, True))
        if plain.cells(config) != fine.cells(config):
            command = f"confirm.py --solver {name}"
            both = [gather(few, config, store) for few in (plain, fine)]
            dataset = dataset.assign_attrs(solver=solver_errors(experiment.claims_of(config.claims), *both))
            reasons = objections(both[1])
    except MissingCellError as error:
        raise RunError(f"{error}: run `python scripts/{command}` first") from None
    if reasons := [*objections(dataset), *reasons]:
        raise RunError("\n".join(f"{name} cannot be published: {reason}" for reason in reasons))
    write_dataset(PUBLISHED / f"{name}.nc", dataset)


def redraw(target: Path, tracking: str, collected: Collection[str] = ()) -> None:
    """Write every figure, CLAIMS.md and report.html from the published data. collected: presets with new data."""
    from replication.experiments import load
    from replication.plots import draw, interactive
    from replication.study.claims import decide
    from replication.study.record import settings, text, update
    from replication.study.report import Section, markdown, page
    from replication.study.store import read_dataset, write_file
    from replication.study.tracking import run as tracked

    record, sections, failures = read(), [], []
    # Not in parallel: a process forked from here may wait for ever for a lock of the linear algebra.
    for path in sorted(PUBLISHED.rglob("*.nc"), key=lambda path: (len(path.parts), path)):
        name = path.relative_to(PUBLISHED).with_suffix("").as_posix()
        try:
            dataset = read_dataset(path)
            experiment = load(dataset.attrs.get("experiment", "none"))
            if "version" not in dataset.attrs:  # published before provenance was kept: by the first engine
                version = UNMARKED.get(experiment.name, experiment.version)
                dataset = dataset.assign_attrs(version=version, engine=1, draw=0, provenance=[])
            if dataset.attrs["version"] != experiment.version:
                print(f"{path} is not redrawn: its version is {dataset.attrs['version']}, not {experiment.version}")
                continue
            outcomes = decide(experiment.claims_of(dataset.attrs.get("claims")), dataset)
            if name in collected or name not in record:
                now = settings(typed(preset(name))[1])
            else:  # the preset may have changed since the data were computed
                now = record[name]["settings"]
            record = update(record, name, now, dataset.attrs, outcomes)
            figures = draw(experiment.name, dataset, (target / name).parent)
            sections.append(Section(name, dataset.attrs, outcomes, figures, interactive(name, dataset)))
        except Exception as error:  # after any error the other files are drawn
            failures.append(f"{path} cannot be drawn: {process.reason(error)}")
    for section in sections:
        with tracked(
            mode=tracking,  # type: ignore[arg-type]
            project="ntk-replication",
            experiment=section.attrs["experiment"],
            job_type="figures",
            config={"preset": section.preset},
            directory=ROOT / "results" / "figures",
            tags=[section.preset],
        ) as run:
            for figure, png in section.figures.items():
                run.figure(figure, png)
            run.claims([outcome.row() for outcome in section.outcomes])
        for png in section.figures.values():
            print(png)
    if not sections and not failures:
        raise RunError(f"there are no data in {PUBLISHED}")
    if BENCHMARK.exists():
        try:
            print(*draw("benchmark", read_json(BENCHMARK), target).values(), sep="\n")
        except Exception as error:
            failures.append(f"{BENCHMARK} cannot be drawn: {process.reason(error)}")
    if failures and target == PUBLISHED:
        raise RunError("\n".join([*failures, "the claims and the report were not written"]))
    for file, content in (
        ("claims.json", text(record)),
        ("CLAIMS.md", markdown(sections, record, target)),
        ("report.html", page(sections, record)),
    ):
        write_file(target / file, content)
        print(target / file)
    if target == PUBLISHED:
        write_readme(record)
    if failures:
        raise RunError("\n".join(failures))


def redraw_one(name: str, target: Path) -> None:
    """Draw the figures of one preset from its published data. Raises UserError if it has none."""
    from replication.plots import draw
    from replication.study.store import read_dataset

    path = PUBLISHED / f"{name}.nc"
    if not path.exists():
        names = sorted(file.relative_to(PUBLISHED).with_suffix("").as_posix() for file in PUBLISHED.rglob("*.nc"))
        raise UserError(f"{name} has no published data; presets that have: {', '.join(names) or 'none'}")
    dataset = read_dataset(path)
    print(*draw(dataset.attrs["experiment"], dataset, (target / name).parent).values(), sep="\n")


def write_readme(record: "Record") -> None:
    """Write the generated parts of the README, docs/results.md and docs/speed.md, from the record and the benchmark."""
    from replication.study.readme import readme, results
    from replication.study.speed import line, page
    from replication.study.store import write_file

    benchmark = read_json(BENCHMARK) if BENCHMARK.exists() else None
    write_file(README, line(readme(README.read_text(encoding="utf-8"), record), benchmark))
    write_file(RESULTS, results(record))
    write_file(SPEED, page(SPEED.read_text(encoding="utf-8"), benchmark))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    presets = "draw only these; with --publish: copy their data from the store, then draw everything"
    parser.add_argument("presets", nargs="*", metavar="PRESET", help=presets)
    parser.add_argument("--publish", action="store_true", help="write figures/ instead of results/figures")
    parser.add_argument("--readme", action="store_true", help="draw nothing; write the README and docs")
    parser.add_argument("--results", default="results", help="folder of the results store (default: results)")
    parser.add_argument("--tracking", default="offline", choices=("offline", "online", "disabled"))
    arguments = parser.parse_args()
    target = PUBLISHED if arguments.publish else ROOT / "results" / "figures"
    if arguments.readme:
        write_readme(read())
    elif arguments.presets and not arguments.publish:
        for name in arguments.presets:
            redraw_one(name, target)
    else:
        for name in arguments.presets:
            collect(name, arguments.results)
        redraw(target, arguments.tracking, arguments.presets)


if __name__ == "__main__":
    sys.exit(process.run(main))
