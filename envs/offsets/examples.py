"""Instances small enough to check by hand."""

from makespan.envs.offsets.instance import OffsetInstance

#: Lowest-first placement in order of time leaves a hole: b at 2 makes c end at 8. With b at 0 ..
#: the optimum is the load, 6: a at 0, b at 4, c at 0.
FRAGMENTED = OffsetInstance.from_columns(
    lower=[0, 1, 3], upper=[3, 6, 5], size=[2, 2, 4], ids=["a", "b", "c"], name="fragmented"
)

#: Three buffers whose sizes fit exactly, one of them fixed above the others.
WITH_FIXED = OffsetInstance.from_columns(
    lower=[0, 0, 2, 2],
    upper=[4, 2, 4, 6],
    size=[3, 4, 2, 2],
    offset=[-1, -1, 5, -1],
    ids=["a", "b", "c", "d"],
    name="with-fixed",
)

#: Every offset is a multiple of 4: sizes 3, 5, 2 take 4 + 8 + 2 = 14 bytes at least, not 10.
ALIGNED = OffsetInstance.from_columns(
    lower=[0, 0, 0], upper=[1, 1, 1], size=[3, 5, 2], alignment=[4, 4, 4], name="aligned"
)

#: No peak equals the load, 5: see the tests, which try every arrangement.
#: Every example by its name.
EXAMPLES = {instance.name: instance for instance in (FRAGMENTED, WITH_FIXED, ALIGNED)}
