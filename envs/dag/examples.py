"""Published worked examples; processors and tasks are numbered from 1 as in the papers."""

from makespan.envs.dag.instance import TaskGraphInstance


def _example(
    name: str, costs: list[list[int]], edges: list[tuple[int, int, int]]
) -> TaskGraphInstance:
    """An example with unit bandwidth and three processors; ``edges`` from 1, with volumes."""
    return TaskGraphInstance.from_arrays(
        costs,
        [(source - 1, target - 1) for source, target, _ in edges],
        [volume for *_, volume in edges],
        name=name,
        tasks=[f"T{task}" for task in range(1, len(costs) + 1)],
        processors=["P1", "P2", "P3"],
    )


#: 10 tasks on 3 processors; HEFT 80, CPOP 86, optimum 73. Source: H. Topcuoglu, S. Hariri,
#: M.-Y. Wu, Performance-effective and low-complexity task scheduling for heterogeneous computing,
#: IEEE Transactions on Parallel and Distributed Systems 13(3), 2002, 260-274, figure 2, table 1.
HEFT_2002 = _example(
    "heft-2002",
    [
        [14, 16, 9],
        [13, 19, 18],
        [11, 13, 19],
        [13, 8, 17],
        [12, 13, 10],
        [13, 16, 9],
        [7, 15, 11],
        [5, 11, 14],
        [18, 12, 20],
        [21, 7, 16],
    ],
    [
        (1, 2, 18),
        (1, 3, 12),
        (1, 4, 9),
        (1, 5, 11),
        (1, 6, 14),
        (2, 8, 19),
        (2, 9, 16),
        (3, 7, 23),
        (4, 8, 27),
        (4, 9, 23),
        (5, 9, 13),
        (6, 8, 15),
        (7, 10, 17),
        (8, 10, 11),
        (9, 10, 13),
    ],
)

#: 10 tasks on 3 processors; PEFT 122, HEFT 133, optimum 113. Source: H. Arabnejad, J. G. Barbosa,
#: List scheduling algorithm for heterogeneous systems by an optimistic cost table, IEEE
#: Transactions on Parallel and Distributed Systems 25(3), 2014, 682-694.
PEFT_2014 = _example(
    "peft-2014",
    [
        [22, 21, 36],
        [22, 18, 18],
        [32, 27, 43],
        [7, 10, 4],
        [29, 27, 35],
        [26, 17, 24],
        [14, 25, 30],
        [29, 23, 36],
        [15, 21, 8],
        [13, 16, 33],
    ],
    [
        (1, 2, 17),
        (1, 3, 31),
        (1, 4, 29),
        (1, 5, 13),
        (1, 6, 7),
        (2, 8, 3),
        (2, 9, 30),
        (3, 7, 16),
        (4, 8, 11),
        (4, 9, 7),
        (5, 9, 57),
        (6, 8, 5),
        (7, 10, 9),
        (8, 10, 42),
        (9, 10, 7),
    ],
)

#: Every example by its name.
EXAMPLES = {instance.name: instance for instance in (HEFT_2002, PEFT_2014)}
