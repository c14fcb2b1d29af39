"""How much memory may still be taken, within the limits of a container."""

import math
from pathlib import Path


def available_memory(root="/"):
    """Bytes that this process may still take without the system or its container running out.

        >>> from keras_crosscbam.datasets.memory import available_memory
        >>> available_memory() > 0
        True

    It is the smallest of Linux' own estimate and of what each control group around the process has
    left (version 1 or 2: Docker, Kubernetes, Slurm, systemd). Files that are merely cached count
    as free.

    Args:
        root: folder that holds `proc` and `sys`.

    Returns:
        A number; infinity where the system does not tell, as on macOS and Windows.
    """
    root = Path(root)
    system = _fields(root / "proc/meminfo").get("MemAvailable:", math.inf)
    return min([1024 * system, *_left_in_groups(root)])


def _left_in_groups(root):
    """What is left under the limit of each control group around the process."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            names = "memory.max", "memory.current", "inactive_file"
            mount = root / "sys/fs/cgroup"
        elif "memory" in controllers.split(","):
            names = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
            mount = root / "sys/fs/cgroup/memory"
        else:
            continue
        # Every group above limits as well; from within a container only some of them are seen.
        group = mount / path.lstrip("/")
        for folder in (group, *group.parents):
            limit, used = (_text(folder / name).strip() for name in names[:2])
            if limit.isdigit() and used.isdigit():
                cached = _fields(folder / "memory.stat").get(names[2], 0)
                yield max(int(limit) - int(used) + cached, 0)
            if folder == mount:
                break


def _fields(path):
    """The numbers of a file of lines `name number ...`."""
    lines = (line.split() for line in _text(path).splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdigit()}


def _text(path):
    try:
        return path.read_text()
    except OSError:
        return ""
