"""The registered environments, and options that make their episodes short."""

from typing import Any

import gymnasium

import makespan.envs  # noqa: F401 - registers them

IDS = sorted(name for name in gymnasium.registry if name.startswith("makespan/"))

_SMALL_SHOP = {"jobs": (2, 4), "machines": (2, 3)}
_DECODE_MODES = ("active", "nondelay", "insert", "append")

#: Options that make episodes short and their sizes vary, and the variants of the physics. An id
#: that is not listed is tested as it is registered.
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    name: {
        **{decode: {**_SMALL_SHOP, "decode": decode} for decode in _DECODE_MODES},
        "lookahead": {**_SMALL_SHOP, "lookahead": "atc"},
    }
    for name in ("makespan/JobShop-v0", "makespan/FlexibleJobShop-v0")
} | {
    "makespan/MemoryMapping-v0": {
        "default": {"instructions": (2, 4)},
        "dynamic": {"instructions": (2, 4), "copy_model": "dynamic"},
        "lookahead": {"instructions": (2, 4), "lookahead": "greedy"},
        "strict": {"instructions": (2, 5), "strict": "yes", "copy_start": "choice"},
    }
}
_SMALL_GRAPH = {"tasks": (2, 6), "processors": (2, 3), "eligible": (0.5, 1.0)}
VARIANTS["makespan/DagScheduling-v0"] = {
    "insertion": _SMALL_GRAPH,
    "append": {**_SMALL_GRAPH, "placement": "append"},
    "order": {**_SMALL_GRAPH, "actions": "order", "dispatch": "nondelay"},
    "skip": {**_SMALL_GRAPH, "dispatch": "skip"},
    "lookahead": {**_SMALL_GRAPH, "lookahead": "lists", "dispatch": "skip", "bandwidths": (1, 3)},
}
VARIANTS["makespan/OffsetAllocation-v0"] = {
    decode: {"buffers": (3, 9), "decode": decode} for decode in ("active", "first-fit", "best-fit")
}
_ONE_JOB = {"platforms": ("toy",), "jobs": (1, 1), "noise": (0.0, 0.5), "variation": 0.3}
_OPEN = {"platforms": ("toy",), "jobs": (1, 2), "cap": 0, "load": (0.3, 0.6)}
VARIANTS["makespan/SoC-v0"] = {
    "eager": {**_ONE_JOB, "binding": "eager"},
    "late": _ONE_JOB,
    "all": {**_ONE_JOB, "processors": "all"},
    "open": {**_OPEN, "horizon": 60},
}
_SMALL_CLUSTER = {
    "num_requests": (2, 4),
    "num_replicas": (1, 3),
    "max_holds": 1,
    "memory": (0.02, 0.1),
}
VARIANTS["makespan/LLMRouting-v0"] = {
    "time": _SMALL_CLUSTER,
    "foreseen": {**_SMALL_CLUSTER, "reward": "projected"},
    "mlfq": {**_SMALL_CLUSTER, "queue": "mlfq"},
    "prefixes": {**_SMALL_CLUSTER, "workload": "mooncake", "queue": "dlpm"},
    "stale": {**_SMALL_CLUSTER, "stale_s": 0.5, "delay_s": 0.01, "queue": "srpt"},
    "pools": {**_SMALL_CLUSTER, "num_replicas": (2, 3), "pools": "disaggregated", "queue": "vtc"},
}
_FEW_MOVES = {**_SMALL_SHOP, "moves": 5}
VARIANTS["makespan/JobShopImprove-v0"] = {
    "n5": _FEW_MOVES,
    "n6": {**_FEW_MOVES, "neighbourhood": "n6", "tabu": "last", "start": "random"},
}
VARIANTS["makespan/BlockingJobShop-v0"] = {
    "swap": {**_SMALL_SHOP, "lookahead": "dispatch"},
    "mask": {**_SMALL_SHOP, "swap": False, "on_down": "restart", "shutdowns": (0.2, 0.4)},
}
