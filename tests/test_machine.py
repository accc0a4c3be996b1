"""What this process may use: the least of what the machine, its groups, its batch system and its environment allow."""

from pathlib import Path
from typing import Any

import pytest

from replication.experiments import available, load
from replication.study import machine

GIB = 2**30


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A machine of 8 cores and 64 GiB without limits; it is called with files to write: path → content."""

    def write(**files: str) -> None:
        for name, content in files.items():
            path = tmp_path / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="ascii")

    monkeypatch.setattr(machine, "PROC", tmp_path / "proc")
    monkeypatch.setattr(machine, "CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "_ENVIRONMENT", {})
    monkeypatch.setattr(machine.sys, "platform", "linux")
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)), raising=False)
    write(proc__meminfo=f"MemTotal: 1 kB\nMemAvailable: {64 * 2**20} kB\n")
    return write


def test_without_limits(groups: Any) -> None:
    assert (machine.cores(), machine.free_memory("cpu")) == (8, 64 * GIB)
    groups(cgroup__memory_dot_max="max", cgroup__memory_dot_current="1", cgroup__cpu_dot_max="max 100000")
    assert (machine.cores(), machine.free_memory("cpu")) == (8, 64 * GIB)


@pytest.mark.parametrize("level", ["", "a__", "a__b__"])
def test_the_least_of_nested_groups(groups: Any, level: str) -> None:
    """The group of a job step, or one around it; what the kernel keeps of files that were read is free."""
    groups(proc__self__cgroup="0::/a/b\n")
    for each in ("", "a__", "a__b__"):
        limit = 8 if each == level else 32
        groups(
            **{
                f"cgroup__{each}memory_dot_max": str(limit * GIB),
                f"cgroup__{each}memory_dot_current": str(3 * GIB),
                f"cgroup__{each}memory_dot_stat": f"anon 5\ninactive_file {GIB}\n",
                f"cgroup__{each}cpu_dot_max": "250000 100000" if each == level else "max 100000",
            }
        )
    assert machine.free_memory("cpu") == 6 * GIB
    assert machine.cores() == 3


def test_groups_of_the_first_version(groups: Any) -> None:
    groups(
        proc__self__cgroup="4:memory:/job\n3:cpu,cpuacct:/job\n0::/\n",
        cgroup__memory__job__memory_dot_limit_in_bytes=str(4 * GIB),
        cgroup__memory__job__memory_dot_usage_in_bytes=str(GIB),
    )
    (machine.CGROUP / "cpu,cpuacct" / "job").mkdir(parents=True)
    (machine.CGROUP / "cpu,cpuacct" / "job" / "cpu.cfs_quota_us").write_text("200000")
    (machine.CGROUP / "cpu,cpuacct" / "job" / "cpu.cfs_period_us").write_text("100000")
    assert (machine.cores(), machine.free_memory("cpu")) == (2, 3 * GIB)
    (machine.CGROUP / "cpu,cpuacct" / "job" / "cpu.cfs_quota_us").write_text("-1")
    assert machine.cores() == 8


@pytest.mark.parametrize(("value", "expected"), [("4", 4), ("2,1", 2), ("16", 8), ("", 8), ("many", 8), ("0", 1)])
@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK"])
def test_what_the_environment_allows(
    groups: Any, monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: int
) -> None:
    monkeypatch.setattr(machine, "_ENVIRONMENT", {name: value})
    assert machine.cores() == expected


def test_a_limit_of_addresses(groups: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of ``ulimit -v``, which batch systems set."""
    groups(proc__self__statm="1000 1 1 1 0 1 0")
    monkeypatch.setattr("resource.getrlimit", lambda which: (5 * GIB, 5 * GIB))
    assert machine.free_memory("cpu") == pytest.approx(5 * GIB, abs=2**24)


@pytest.mark.parametrize("name", available())
def test_every_experiment_knows_what_its_networks_take(name: str) -> None:
    """Of each cell with a width, the least memory grows with it without bound."""
    from scripts_fixtures import script

    from replication.study.experiment import width_of

    compose = script("compose")
    experiment, config = compose.typed(compose.preset(f"ci/{name}"))
    for cell in experiment.cells(config):
        if width := width_of(cell.setting):
            assert 0 < experiment.least_nbytes(cell, width) < experiment.least_nbytes(cell, 10 * width)
    assert load(name) is experiment
