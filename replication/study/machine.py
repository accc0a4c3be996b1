"""The cores and the memory that this process may use, and the check that a network fits."""

import math
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import torch


def require_memory(width: int, nbytes: Callable[[int], int], device: str) -> None:
    """Raise MemoryError, with the largest width that fits, if this width needs more bytes than the device has free."""
    free = free_memory(device)
    if nbytes(width) <= free:
        return
    fits, too_wide = 0, width
    while too_wide - fits > 1:
        middle = (fits + too_wide) // 2
        fits, too_wide = (middle, too_wide) if nbytes(middle) <= free else (fits, middle)
    raise MemoryError(
        f"width {width} needs {nbytes(width) / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are free: "
        f"the largest width that fits is {fits}"
    )


CGROUP = Path("/sys/fs/cgroup")
"""Where Linux lists the groups of this process, whose limits are those of a container or a job of a cluster."""

PROC = Path("/proc")
_ENVIRONMENT = {name: os.environ.get(name, "") for name in ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK")}
"""The values at import. Later this process sets the first variable itself, for libraries that it loads."""


def cores() -> int:
    """The number of cores that this process may use: the least of affinity, quotas, OMP_NUM_THREADS and Slurm."""
    numbers = [len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1]
    numbers += [int(first) for value in _ENVIRONMENT.values() if (first := value.split(",")[0].strip()).isdecimal()]
    for group in _groups("cpu"):
        share = _numbers(group, "cpu.max")
        share = share or (*_numbers(group, "cpu.cfs_quota_us"), *_numbers(group, "cpu.cfs_period_us"))
        if len(share) == 2 and 0 < share[0] < math.inf:  # microseconds of each period; -1 or "max": no limit
            numbers.append(math.ceil(share[0] / share[1]))
    return max(1, min(numbers))


def free_memory(device: str) -> int:
    """The number of bytes that can be allocated on a device now."""
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    page = os.sysconf("SC_PAGE_SIZE")
    try:
        lines = (PROC / "meminfo").read_text(encoding="ascii").splitlines()
        free = [1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))]
    except OSError:  # not Linux: all of the memory
        free = [page * os.sysconf("SC_PHYS_PAGES")]
    for group in _groups("memory"):
        for limit, used, cache in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            most, now = _numbers(group, limit), _numbers(group, used)
            if most and now:  # cached files do not count: the system can drop them
                free.append(int(min(most[0] - now[0] + _statistic(group, cache), 2**62)))
    addresses, _ = resource.getrlimit(resource.RLIMIT_AS)
    if addresses != resource.RLIM_INFINITY and (own := _numbers(PROC / "self", "statm")):
        free.append(int(addresses - page * own[0]))
    return max(0, min(free))


def _groups(controller: str) -> list[Path]:
    """The folders of this process's control group and of all enclosing ones, for either version of Linux's groups."""
    try:
        lines = (PROC / "self" / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    folders = [CGROUP]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers or controller in controllers.split(","):
            root = CGROUP / controllers if controllers else CGROUP
            inner = root / path.strip("/")
            folders += [inner, *(folder for folder in inner.parents if folder.is_relative_to(root))]
    return list(dict.fromkeys(folders))


def _numbers(folder: Path, name: str) -> tuple[float, ...]:
    """The numbers in a system file, "max" as infinity; an empty tuple without the file."""
    try:
        words = (folder / name).read_text(encoding="ascii").split()
        return tuple(math.inf if word == "max" else float(word) for word in words)
    except (OSError, ValueError):
        return ()


def _statistic(group: Path, name: str) -> float:
    try:
        lines = (group / "memory.stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    return next((float(line.split()[1]) for line in lines if line.startswith(f"{name} ")), 0.0)
