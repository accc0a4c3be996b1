"""Redraw the published figures, the claims and the report from stored data. No network is computed.

    python scripts/figures.py                        from figures/*.nc into results/figures, to look at
    python scripts/figures.py fig1                   only the figures of one preset
    python scripts/figures.py --publish              from figures/*.nc into figures/, after a change of a plot
    python scripts/figures.py --publish fig1         first copy the data of a preset from the results store
    python scripts/figures.py --round                round the published data as far as no claim changes
    python scripts/figures.py --readme               the generated parts of the README and docs, from figures/*.json

Only --publish and --round write figures/ (and the files of --readme). Publishing takes presets at the paper's widths,
if all their cells are stored. Two figures show benchmarks: `make benchmark` writes their data.
"""

import argparse
import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import process
from compose import preset, typed
from confirm import read, read_json
from drawing import Task, all_drawn, read_published
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
    from replication.study.compact import compact
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
    write_dataset(PUBLISHED / f"{name}.nc", compact(dataset, experiment.claims_of(config.claims)))


def round_published(names: Collection[str]) -> None:
    """Round published data as far as no claim can tell, those of all presets if none is named."""
    from replication.study.compact import compact
    from replication.study.store import write_dataset

    for path in [published(name) for name in names] or sorted(PUBLISHED.rglob("*.nc")):
        (experiment, dataset), size = read_published(path, UNMARKED), path.stat().st_size
        if dataset.attrs["version"] != experiment.version:
            print(f"{path} is not rounded: its version is {dataset.attrs['version']}, not {experiment.version}")
            continue
        smaller = compact(dataset, experiment.claims_of(dataset.attrs.get("claims")))
        if smaller is not dataset:
            write_dataset(path, smaller)
            bits = smaller.attrs["significant_bits"]
            print(f"{path}: {size} bytes before, {path.stat().st_size} with {bits} significant bits")


def redraw(target: Path, tracking: str, collected: Collection[str] = ()) -> None:
    """Write every figure, CLAIMS.md and report.html from the published data. collected: presets with new data.

    Claims are decided in order to be published, or if claims.json lacks them; else they are shown as it has them.
    """
    record = read()
    paths = sorted(PUBLISHED.rglob("*.nc"), key=lambda path: (len(path.parts), path))
    names = [path.relative_to(PUBLISHED).with_suffix("").as_posix() for path in paths]
    tasks = [
        Task(path, name, target, None if target == PUBLISHED else record.get(name), UNMARKED)
        for path, name in zip(paths, names, strict=True)
    ]
    results = all_drawn(tasks)
    from replication.experiments import load
    from replication.plots import draw
    from replication.study.claims import Outcome
    from replication.study.record import settings, text, update
    from replication.study.recorded import outcomes
    from replication.study.report import Section, markdown, page
    from replication.study.store import write_file
    from replication.study.tracking import run as tracked

    sections, failures = [], [drawn.failure for drawn in results if drawn.failure]
    for name, drawn in zip(names, results, strict=True):
        if drawn.left:
            print(drawn.left)
        if drawn.left or drawn.failure:
            continue
        claims = load(drawn.attrs["experiment"]).claims_of(drawn.attrs.get("claims"))
        if drawn.decided is not None:
            if name in collected or name not in record:
                now = settings(typed(preset(name))[1])
            else:  # the preset may have changed since the data were computed
                now = record[name]["settings"]
            decided = [Outcome(claim, *numbers) for claim, numbers in zip(claims, drawn.decided, strict=True)]
            record = update(record, name, now, drawn.attrs, decided)
        shown = outcomes(record[name], claims, drawn.attrs["draw"])
        sections.append(Section(name, drawn.attrs, shown, drawn.figures or {}, drawn.plot))
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


def published(name: str) -> Path:
    """The published data of a preset. Raises UserError if it has none."""
    path = PUBLISHED / f"{name}.nc"
    if not path.exists():
        names = sorted(file.relative_to(PUBLISHED).with_suffix("").as_posix() for file in PUBLISHED.rglob("*.nc"))
        raise UserError(f"{name} has no published data; presets that have: {', '.join(names) or 'none'}")
    return path


def redraw_one(name: str, target: Path) -> None:
    """Draw the figures of one preset from its published data."""
    path = published(name)
    (drawn,) = all_drawn([Task(path, name, target, read().get(name), UNMARKED)])
    if drawn.failure or drawn.left:
        raise RunError(drawn.failure or drawn.left)
    print(*(drawn.figures or {}).values(), sep="\n")


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
    parser.add_argument("--round", action="store_true", help="draw nothing; rewrite the published data in fewer bytes")
    parser.add_argument("--readme", action="store_true", help="draw nothing; write the README and docs")
    parser.add_argument("--results", default="results", help="folder of the results store (default: results)")
    tracking = "default: offline with --publish, else disabled"
    parser.add_argument("--tracking", choices=("offline", "online", "disabled"), help=tracking)
    arguments = parser.parse_args()
    target = PUBLISHED if arguments.publish else ROOT / "results" / "figures"
    if arguments.readme:
        write_readme(read())
    elif arguments.round:
        round_published(arguments.presets)
    elif arguments.presets and not arguments.publish:
        for name in arguments.presets:
            redraw_one(name, target)
    else:
        for name in arguments.presets:
            collect(name, arguments.results)
        tracking = arguments.tracking or ("offline" if arguments.publish else "disabled")
        redraw(target, tracking, arguments.presets)


if __name__ == "__main__":
    sys.exit(process.run(main))
