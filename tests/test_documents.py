"""README and docs: short, with links that resolve, code that runs, commands that exist, numbers from the record."""

import json
import re
import shlex
import subprocess
import tomllib
from functools import partial
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from scripts_fixtures import ROOT, script

from replication.engine import ENGINE
from replication.experiments import available, load
from replication.study.readme import readme, results
from replication.study.speed import line, page

compose = script("compose")
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("C*.md"))]
LINK = re.compile(r"\]\(([^()\s]+)\)")
NAMES = [path.relative_to(ROOT).as_posix() for path in DOCUMENTS]


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(language: str) -> list[tuple[str, str]]:
    return [
        (name, block)
        for name, path in zip(NAMES, DOCUMENTS, strict=True)
        for block in re.findall(rf"^```{language}\n(.*?)^```", text_of(path), re.DOTALL | re.MULTILINE)
    ]


def commands() -> list[list[str]]:
    lines = [line for _, block in blocks("sh") for line in block.splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def anchors(path: Path) -> set[str]:
    """Of each heading, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", text_of(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_readme_is_a_door() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= 10 * 1024


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_links_resolve(path: Path) -> None:
    for link in LINK.findall(text_of(path)):
        if link.startswith("https://"):
            continue
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_linked_from_the_readme() -> None:
    links = (link.partition("#")[0] for link in LINK.findall(text_of(ROOT / "README.md")))
    linked = {link for link in links if link.startswith("docs/")}
    assert linked == {name for name in NAMES if name.startswith("docs/")}


@pytest.mark.parametrize(("name", "block"), blocks("python"), ids=[name for name, _ in blocks("python")])
def test_python_runs(name: str, block: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(block, name, "exec"), {})
    assert capsys.readouterr().out


def test_targets_of_make_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    named = {word for command, *words in commands() if command == "make" for word in words}
    assert named
    assert named <= targets


def test_experiments_can_be_run_as_written() -> None:
    """Each command with run.py composes into a config of its experiment; of a sweep, its first job."""
    composed = 0
    for words in commands():
        if words[:2] != ["python", "scripts/run.py"] or len(words) == 2:
            continue
        overrides = [word for word in words[2:] if word not in ("-m", "--help")]
        first = []
        for override in OverridesParser.create().parse_overrides(overrides):
            if override.key_or_group == "hydra/launcher":
                continue
            value = next(iter(override.sweep_string_iterator())) if override.is_sweep_override() else None
            first.append(override.input_line if value is None else f"{override.key_or_group}={value}")
        name = next(word for word in first if word.startswith("+exp=")).removeprefix("+exp=")
        compose.typed(compose.preset(name, *(word for word in first if not word.startswith("+exp="))))
        composed += 1
    assert composed >= 10


def test_scripts_and_their_presets_exist() -> None:
    for words in commands():
        if words[0] == "python":
            assert (ROOT / words[1]).is_file(), words
        if words[:2] == ["python", "scripts/power.py"]:
            assert set(words[2:]) & set(compose.presets())


def test_citation_has_what_the_format_wants_and_the_projects_version() -> None:
    citation = OmegaConf.to_container(OmegaConf.load(ROOT / "CITATION.cff"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    project = tomllib.loads(text_of(ROOT / "pyproject.toml"))["project"]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])


def test_numbers_are_those_of_the_record() -> None:
    record = json.loads(text_of(ROOT / "figures" / "claims.json"))
    assert readme(text_of(ROOT / "README.md"), record) == text_of(ROOT / "README.md")
    assert results(record) == text_of(ROOT / "docs" / "results.md")


def test_speeds_are_those_of_the_benchmark() -> None:
    path = ROOT / "figures" / "benchmark.json"
    measured = json.loads(text_of(path)) if path.exists() else None
    for file, written in ((ROOT / "README.md", line), (ROOT / "docs" / "speed.md", page)):
        assert written(text_of(file), measured) == text_of(file)


HISTORY = [
    [cell.strip() for cell in row.strip("|").split("|")]
    for row in text_of(ROOT / "docs" / "speed.md").partition("<!-- history -->")[2].splitlines()
    if re.match(r"\| \d", row)
]


@pytest.mark.parametrize("row", HISTORY, ids=[commit for _, commit, *_ in HISTORY])
def test_numbers_of_the_history_stand_in_their_commits(row: list[str]) -> None:
    date, commit, *cells = row
    git = partial(subprocess.run, cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    try:
        day, message = git(["git", "show", "-s", "--date=short", "--format=%ad%n%B", commit]).stdout.split("\n", 1)
        change = git(["git", "diff", "-U0", f"{commit}~", commit, "--", "README.md"]).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no git, or none of its history")
    assert day == date
    for number in re.findall(r"[\d.]+[¼½]?\d*", " ".join(cells)):
        assert re.search(rf"(?<![\d.]){re.escape(number)}(?![\d.]*\d)", message + change), (
            f"{number} is not in {commit}"
        )


def test_the_changelog_names_every_version() -> None:
    text = text_of(ROOT / "CHANGELOG.md")
    assert f"- **{ENGINE}** (" in text
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    named = {(name, row[1]) for row in rows for name in row[0].split(", ")}
    for name in available():
        assert {(name, str(version)) for version in range(2, load(name).version + 1)} <= named, name
