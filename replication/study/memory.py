"""What may be allocated here, and the refusal of what would not fit."""

import os
from collections.abc import Callable
from pathlib import Path

import torch


def require_memory(width: int, nbytes: Callable[[int], int], device: str) -> None:
    """Raise MemoryError, naming the largest width that fits, if one needs more bytes than are free on the device."""
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
"""Where Linux tells the limits of this process's group."""


def free_memory(device: str) -> int:
    """Bytes that can be allocated on a device now."""
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except OSError:  # not Linux: all there is
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:  # a container, or a job of a cluster, may have less
        limit, used = (int((CGROUP / name).read_text(encoding="ascii")) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):  # no limit there
        return free
    return min(free, max(0, limit - used))
