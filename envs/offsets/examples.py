"""Instances small enough to check by hand."""

from makespan.envs.offsets.instance import OffsetInstance

#: First fit in the order of time puts b at 2 and so c, which needs 4 bytes, at 4: peak 8. With b at
#: 4 and c below it the peak is the load, 6.
FRAGMENTED = OffsetInstance.from_columns(
    lower=[0, 1, 3], upper=[3, 6, 5], size=[2, 2, 4], ids=["a", "b", "c"], name="fragmented"
)

#: Five buffers that fill 12 bytes: 4 bytes each, three alive at any time before 9, two after.
FIVE = OffsetInstance.from_columns(
    lower=[0, 3, 0, 9, 0],
    upper=[3, 9, 9, 21, 21],
    size=[4, 4, 4, 4, 4],
    ids=["b1", "b2", "b3", "b4", "b5"],
    capacity=12,
    name="five",
)

#: c lies at 5 to 7. a fits below it (0 to 3) beside d, which is alive with a and c from time 2 on
#: and fits between them (3 to 5); b, alive with a alone, ends at 7: peak 7.
WITH_FIXED = OffsetInstance.from_columns(
    lower=[0, 0, 2, 2],
    upper=[4, 2, 4, 6],
    size=[3, 4, 2, 2],
    offset=[-1, -1, 5, -1],
    ids=["a", "b", "c", "d"],
    name="with-fixed",
)

#: Every offset is a multiple of 4, so the sizes 3, 5 and 2 take 4, 8 and 4 bytes but for the
#: uppermost: 4 + 4 + 5 = 13 bytes, not 10.
ALIGNED = OffsetInstance.from_columns(
    lower=[0, 0, 0], upper=[1, 1, 1], size=[3, 5, 2], alignment=[4, 4, 4], name="aligned"
)

#: Every example by its name, and the smallest objective of each.
EXAMPLES = {instance.name: instance for instance in (FRAGMENTED, FIVE, WITH_FIXED, ALIGNED)}
OPTIMA = {"fragmented": 6, "five": 12, "with-fixed": 7, "aligned": 13}
