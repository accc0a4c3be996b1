"""claims.json: for every claim of every published preset, its criterion, its history, and the outcome of each draw.

Criteria, widths and numbers of networks are chosen on draw 0. Then they are committed. Two draws that nobody has looked
at are computed once, and confirm the claims or not. A change of a criterion, a control, a width or a number of networks
starts anew: the old ones become a line of the history, and two fresh draws decide.
"""

import dataclasses
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NotRequired, TypedDict

from .claims import Outcome
from .settings import BaseConfig
from .statistics import Statistic

CONFIRMING = 2
"""Draws that confirm a claim."""


class Environment(TypedDict):
    """The environment of cells: commit, processor, first and last date."""

    commit: str
    cpu: str
    begin: str
    end: str
    cells: int


class Decision(TypedDict):
    """A claim on one draw: each statistic as [estimate, low, high], also on the data of each control."""

    verdict: str
    statistics: list[list[float | None]]
    controls: dict[str, list[list[float | None]]]
    objections: list[str]
    computed: list[Environment]


class Line(TypedDict):
    """An earlier form of a claim: its criterion, its controls, settings that have changed since, and each verdict."""

    criterion: list[list[Any]]
    controls: NotRequired[list[str]]
    settings: dict[str, Any]
    verdicts: dict[str, str]


class Entry(TypedDict):
    """A claim: its criterion as [statistic, lowest, highest allowed], its history, and draw → outcome.

    solver: the solver's error in the interval of each statistic, null if it is not known.
    """

    kind: str
    place: str
    statement: str
    criterion: list[list[Any]]
    solver: list[float | None]
    earlier: list[str]
    history: list[Line]
    draws: dict[str, Decision]


class Preset(TypedDict):
    """A preset's claims, with all settings that can change numbers."""

    experiment: str
    version: int
    engine: int
    settings: dict[str, Any]
    claims: dict[str, Entry]


Record = dict[str, Preset]


def settings(config: BaseConfig) -> dict[str, Any]:
    """All values of a config that can change numbers, except the draw."""
    shared = {field.name for field in dataclasses.fields(BaseConfig)}
    own = {name: value for name, value in dataclasses.asdict(config).items() if name not in shared}
    return json.loads(json.dumps(own))  # type: ignore[no-any-return]


def criterion(outcome: Outcome) -> list[list[Any]]:
    """[name, lowest, highest allowed] of each statistic; null if there is no bound."""
    return [[statistic.title, *map(_bound, statistic.allowed)] for statistic in outcome.statistics]


def controls(entry: Entry) -> list[str]:
    """The names of a claim's negative controls. They are a part of its criterion."""
    return [text for decision in list(entry["draws"].values())[:1] for text in decision["controls"]]


def update(
    record: Record, name: str, now: dict[str, Any], attrs: Mapping[str, Any], outcomes: Iterable[Outcome]
) -> Record:
    """Add the outcomes of one draw of a preset to the record.

    now: the ``settings`` of the data; attrs: the attributes of the dataset of ``gather``.

    If the criterion, the controls or the settings have changed, the old entry becomes a line of the history. A new
    version of the experiment or of the engine only drops the draws of the old version. A claim without an outcome on
    draw 0 is removed. The outcomes of another draw may cover some of the claims only.
    """
    old = record.get(name)
    made_by = (attrs["version"], attrs["engine"])
    claims: dict[str, Entry] = dict(old["claims"]) if old and attrs["draw"] != 0 else {}
    for outcome in outcomes:
        claim, new = outcome.claim, criterion(outcome)
        before = old["claims"].get(claim.id) if old else None
        history = list(before["history"]) if before else []
        draws: dict[str, Decision] = {}
        if old and before:
            was = controls(before)
            if before["criterion"] != new or was != list(outcome.on_controls) or old["settings"] != now:
                changed = {key: value for key, value in old["settings"].items() if now.get(key) != value}
                verdicts = {draw: decision["verdict"] for draw, decision in before["draws"].items()}
                line: Line = {
                    "criterion": before["criterion"],
                    "controls": was,
                    "settings": changed,
                    "verdicts": verdicts,
                }
                history.append(line)
            elif (old["version"], old["engine"]) == made_by:
                draws = dict(before["draws"])
        draws[str(attrs["draw"])] = _decision(outcome, attrs["provenance"])
        claims[claim.id] = {
            "kind": claim.kind,
            "place": claim.place,
            "statement": claim.statement,
            "criterion": new,
            "solver": [rounded(statistic.solver) for statistic in outcome.statistics],
            "earlier": list(claim.history),
            "history": history,
            "draws": dict(sorted(draws.items(), key=lambda item: int(item[0]))),
        }
    preset: Preset = {
        "experiment": attrs["experiment"],
        "version": attrs["version"],
        "engine": attrs["engine"],
        "settings": now,
        "claims": claims,
    }
    return dict(sorted((record | {name: preset}).items()))


def solver_errors(preset: Preset) -> dict[str, list[float]]:
    """Claim → the solver's error of each of its statistics, for ``decide``."""
    return {
        claim: [math.nan if error is None else error for error in entry["solver"]]
        for claim, entry in preset["claims"].items()
        if "solver" in entry
    }


def confirming(entry: Entry) -> list[int]:
    """The draws that confirm a claim: the first two after every draw on which earlier criteria were tried."""
    used = [int(draw) for line in entry["history"] for draw in line["verdicts"]]
    first = max(used, default=0) + 1
    return list(range(first, first + CONFIRMING))


def pending(preset: Preset) -> dict[int, list[str]]:
    """Draw → the claims of a preset that this draw still has to decide."""
    result: dict[int, list[str]] = {}
    for claim, entry in preset["claims"].items():
        for draw in confirming(entry):
            if str(draw) not in entry["draws"]:
                result.setdefault(draw, []).append(claim)
    return dict(sorted(result.items()))


def unlike(record: Record, name: str, config: BaseConfig, outcomes: Iterable[Outcome] = ()) -> list[str]:
    """The differences between a preset and its frozen record, one line each."""
    if name not in record:
        return ["it has no frozen criteria: publish draw 0 and commit figures/claims.json first"]
    frozen = record[name]
    lines = [
        f"{key} is {json.dumps(value)}, and was {json.dumps(frozen['settings'].get(key))} when criteria were frozen"
        for key, value in settings(config).items()
        if frozen["settings"].get(key) != value
    ]
    for outcome in outcomes:
        entry = frozen["claims"].get(outcome.claim.id)
        if entry is None or _frozen(entry) != (criterion(outcome), list(outcome.on_controls)):
            lines.append(f"{outcome.claim.id}: its criterion is not the frozen one")
    return lines


def precedes(record: Record, name: str, file_at: Callable[[str], str | None]) -> list[str]:
    """Evidence that criteria of a preset were not committed before its confirming draws, one line each.

    file_at: returns the text of the record's file in a commit, or None. The commit of a cell must contain today's
    criteria, controls and settings, and its draw must not be decided there.
    """
    now, lines = record[name], []
    for claim, entry in now["claims"].items():
        for draw, decision in entry["draws"].items():
            if draw == "0":
                continue
            for environment in decision["computed"]:
                commit = environment["commit"]
                where = f"{name}, {claim}, draw {draw}: in commit {commit[:9]}, with which it was computed,"
                text = file_at(commit)
                then = json.loads(text).get(name) if text else None
                if then is None or claim not in then["claims"]:
                    lines.append(f"{where} there is no criterion")
                elif _frozen(then["claims"][claim]) != _frozen(entry) or then["settings"] != now["settings"]:
                    lines.append(f"{where} the criterion, a control or a setting is different")
                elif draw in then["claims"][claim]["draws"] and then["version"] == now["version"]:
                    lines.append(f"{where} it was decided before")
    return lines


def text(record: Record) -> str:
    """The text of the file, with lists of numbers on one line."""
    lines = json.dumps(record, indent=1, ensure_ascii=False)
    return _LISTS.sub(lambda match: f"[{' '.join(match[1].split())}]", lines) + "\n"


_LISTS = re.compile(r"\[([^][{}]*)\]")


def verdict(entry: Entry) -> str:
    """The verdict of a claim in words: of its confirming draws if they were computed, else of draw 0."""
    decided = [decision["verdict"] for decision in _confirmed(entry)]
    own = entry["draws"].get("0")
    if entry["kind"] == "identity":
        return "verified" if own and own["verdict"] == "holds" else "not verified"
    if not decided:
        return f"{own['verdict']}, not confirmed yet" if own else "not run"
    held = decided.count("holds")
    others = ", ".join(f"{word} in {count}" for word, count in Counter(decided).items() if word != "holds")
    return f"holds in {held} of {len(decided)}" + (f", {others}" if others else "")


def verdicts(record: Record) -> dict[str, str]:
    """``verdict`` of each claim. A preset in a folder, such as literal/fig1, counts only if no other has the claim."""
    ordered = sorted(record.items(), key=lambda item: "/" not in item[0])
    return {claim: verdict(entry) for _, preset in ordered for claim, entry in preset["claims"].items()}


def headline(record: Record) -> str:
    """The numbers of claims and of their verdicts, such as ``75 claims: 73 hold in every confirming draw, …``.

    Each claim counts once: a variant of a preset (``literal/fig1``) adds only the claims that no plain preset decides.
    """
    entries: dict[str, Entry] = {}
    for _, preset in sorted(record.items(), key=lambda item: "/" in item[0]):
        for claim, entry in preset["claims"].items():
            entries.setdefault(claim, entry)
    counts: Counter[str] = Counter()
    for entry in entries.values():
        if entry["kind"] == "identity":
            counts[f"identities {verdict(entry)}"] += 1
            continue
        draws = _confirmed(entry)
        held = sum(decision["verdict"] == "holds" for decision in draws)
        if len(draws) < CONFIRMING:
            own = entry["draws"].get("0")
            counts[_UNCONFIRMED[0 if own and own["verdict"] == "holds" else 1]] += 1
        else:
            counts[_HELD[CONFIRMING - held]] += 1
    claims = sum(count for word, count in counts.items() if not word.startswith("identities"))
    parts = [f"{counts[word]} {word}" for word in (*_HELD, *_UNCONFIRMED) if counts[word]]
    identities = [
        f"{count} {word if count > 1 else word.replace('identities', 'identity')}"
        for word, count in counts.items()
        if word.startswith("identities")
    ]
    return "; ".join([f"{claims} claim{'s' if claims > 1 else ''}: {', '.join(parts)}", *identities])


def held(preset: Preset) -> str:
    """How many claims of a preset hold: ``6 of 7`` in every confirming draw, or ``6 of 7 (draw 0)``."""
    claims = [entry for entry in preset["claims"].values() if entry["kind"] != "identity"]
    confirmed = all(len(_confirmed(entry)) == CONFIRMING for entry in claims)
    draws = [_confirmed(entry) if confirmed else [entry["draws"]["0"]] for entry in claims]
    count = sum({decision["verdict"] for decision in decisions} == {"holds"} for decisions in draws)
    return f"{count} of {len(claims)}" + ("" if confirmed else " (draw 0)")


def _confirmed(entry: Entry) -> list[Decision]:
    """The outcomes of the confirming draws that were computed."""
    return [entry["draws"][str(draw)] for draw in confirming(entry) if str(draw) in entry["draws"]]


def _frozen(entry: Entry) -> tuple[list[list[Any]], list[str]]:
    """The part of a claim that must be committed before its confirming draws are computed."""
    return entry["criterion"], controls(entry)


_HELD = ("hold in every confirming draw", "in one of two", "in none")
_UNCONFIRMED = ("hold on the draw they were chosen on and are not confirmed yet", "are undecided or fail")


def _decision(outcome: Outcome, provenance: Iterable[Mapping[str, Any]]) -> Decision:
    return {
        "verdict": outcome.verdict,
        "statistics": _numbers(outcome.statistics),
        "controls": {text: _numbers(statistics) for text, statistics in outcome.on_controls.items()},
        "objections": outcome.objections,
        "computed": environments(provenance),
    }


def environments(provenance: Iterable[Mapping[str, Any]]) -> list[Environment]:
    """What cells were computed with, of the attribute ``provenance`` of a dataset."""
    return [
        {
            "commit": entry["commit"],
            "cpu": entry["cpu"],
            "begin": entry["from"],
            "end": entry["to"],
            "cells": len(entry["cells"]),
        }
        for entry in provenance
    ]


def _numbers(statistics: Sequence[Statistic]) -> list[list[float | None]]:
    return [
        [rounded(value) for value in (statistic.estimate, statistic.low, statistic.high)] for statistic in statistics
    ]


def _bound(value: float) -> float | None:
    return None if math.isinf(value) else float(value)


def rounded(value: float) -> float | None:
    """Rounded to four digits; None if it is not finite."""
    return float(f"{value:.4g}") if math.isfinite(value) else None
