"""``make`` installs into .venv: not with a Python that does not fit, and anew after an installation that failed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from scripts_fixtures import ROOT

PYTHON = """\
#!/bin/sh
# A Python of the version {version}, whose venv is a copy of it, and which installs by saying so.
case "$*" in
    *version_info*) exec {real} -c "import sys; sys.version_info = {version}; exec(sys.argv[1])" "$2";;
    "-m venv --clear .venv") rm -rf .venv && mkdir -p .venv/bin && cp "$0" .venv/bin/python && echo made;;
    "-m pip install"*) echo installed;;
esac
"""


def python(path: Path, version: tuple[int, int]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(PYTHON.format(real=sys.executable, version=version), encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def make(folder: Path, version: tuple[int, int]) -> subprocess.CompletedProcess[str]:
    command = ["make", "--silent", "install", f"PYTHON={python(folder / 'own' / 'python', version)}"]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env=os.environ | {"LC_ALL": "C"}
    )


def test_make_installs_once(folder: Path) -> None:
    done = make(folder, (3, 12))
    assert (done.returncode, done.stdout, done.stderr) == (0, "made\ninstalled\n", "")
    done = make(folder, (3, 12))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("version", [(3, 10), (3, 14)])
def test_a_python_that_does_not_fit_is_refused_in_one_line(folder: Path, version: tuple[int, int]) -> None:
    done = make(folder, version)
    assert done.returncode != 0
    first, *rest = done.stderr.splitlines()
    assert first.startswith("error: Python {}.{}; 3.11 to 3.13".format(*version))
    assert all(re.match(r"make(\[\d+\])?: ", line) for line in rest)  # with a number inside `make test`
    assert not (folder / ".venv").exists()


@pytest.mark.parametrize("left", ["no pip", "another Python", "nothing that runs"])
def test_make_begins_anew_after_an_installation_that_failed(folder: Path, left: str) -> None:
    half = python(folder / ".venv" / "bin" / "python", (3, 10))
    if left == "no pip":
        half.write_text("#!/bin/sh\nexit 1\n")
    if left == "nothing that runs":
        half.unlink()
    done = make(folder, (3, 12))
    assert (done.returncode, done.stdout, done.stderr) == (0, "made\ninstalled\n", "")
