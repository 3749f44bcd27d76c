"""The disjunctive graph against a reference that knows only arcs and longest paths."""

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from makespan.envs.jobshop import disjunctive
from makespan.envs.jobshop.disjunctive import DisjunctiveGraph

Sequences = dict[int, list[int]]


def build(routes: list[list[tuple[int, int]]], order: list[int]) -> DisjunctiveGraph:
    """The graph of jobs given as (machine, duration), each machine working in the order given."""
    operations = [operation for route in routes for operation in route]
    offsets = np.cumsum([0, *map(len, routes)], dtype=np.int32)
    graph = disjunctive.allocate(offsets, 1 + max(machine for machine, _ in operations))
    graph.machine[:] = [machine for machine, _ in operations]
    graph.duration[:-1] = [duration for _, duration in operations]
    disjunctive.select(graph, np.array(order, dtype=np.int32))
    return graph


def sequences(graph: DisjunctiveGraph) -> Sequences:
    """The operations of each machine in order, read from the links."""
    n = len(graph.order)
    found: Sequences = {}
    for machine, op in enumerate(graph.first_on_machine.tolist()):
        found[machine] = []
        before = n
        while op != n:
            assert graph.machine[op] == machine
            assert graph.machine_prev[op] == before
            found[machine].append(op)
            before, op = op, int(graph.machine_next[op])
    assert sum(map(len, found.values())) == n
    return found


def predecessors(graph: DisjunctiveGraph, machines: Sequences) -> dict[int, list[int]]:
    n = len(graph.order)
    before = {op: [p] if (p := int(graph.job_prev[op])) != n else [] for op in range(n)}
    for sequence in machines.values():
        for a, b in pairwise(sequence):
            before[b].append(a)
    return before


def reference(graph: DisjunctiveGraph, machines: Sequences) -> tuple[list[int], list[int]] | None:
    """Heads and tails for the given sequences; None when they close a cycle."""
    before = predecessors(graph, machines)
    try:
        order = list(TopologicalSorter(before).static_order())
    except CycleError:
        return None
    heads, tails = [0] * len(order), [0] * len(order)
    for op in order:
        heads[op] = max((heads[p] + int(graph.duration[p]) for p in before[op]), default=0)
    for op in reversed(order):
        for p in before[op]:
            tails[p] = max(tails[p], tails[op] + int(graph.duration[op]))
    return heads, tails


def assert_up_to_date(graph: DisjunctiveGraph, makespan: int) -> None:
    machines = sequences(graph)
    expected = reference(graph, machines)
    assert expected is not None
    assert (graph.head[:-1].tolist(), graph.tail[:-1].tolist()) == expected
    assert makespan == (graph.head + graph.duration + graph.tail).max()
    assert graph.position[graph.order].tolist() == list(range(len(graph.order)))
    for op, before in predecessors(graph, machines).items():
        assert all(graph.position[p] < graph.position[op] for p in before)
    assert not graph.mark.any()


def moved(machines: Sequences, u: int, v: int) -> Sequences:
    """The sequences after move (u, v), by its definition."""
    changed = {machine: list(sequence) for machine, sequence in machines.items()}
    sequence = next(s for s in changed.values() if u in s)
    behind = sequence.index(u) < sequence.index(v)
    sequence.remove(u)
    sequence.insert(sequence.index(v) + behind, u)
    return changed


def critical(graph: DisjunctiveGraph, seed: int = 0) -> tuple[list[list[int]], Any]:
    """Blocks of a critical path, and a function that lists the moves of a neighbourhood on it."""
    n = len(graph.order)
    path, starts = np.zeros(n, np.int32), np.zeros(n + 1, np.int32)
    state = np.array([seed], dtype=np.uint64)
    count = disjunctive.critical_blocks(graph, disjunctive.heads_tails(graph), state, path, starts)

    def list_moves(neighbourhood: Any) -> list[tuple[int, int]]:
        moves = np.zeros((2 * n, 2), np.int32)
        found = neighbourhood(graph, path, starts, count, moves)
        return [(int(u), int(v)) for u, v in moves[:found]]

    blocks = [path[starts[b] : starts[b + 1]].tolist() for b in range(count)]
    return blocks, list_moves


@st.composite
def graphs(draw: st.DrawFn, min_duration: int = 0) -> DisjunctiveGraph:
    """Random schedules of small shops, jobs may come back to a machine."""
    machines = draw(st.integers(1, 4))
    operation = st.tuples(st.integers(0, machines - 1), st.integers(min_duration, 9))
    routes = draw(st.lists(st.lists(operation, min_size=1, max_size=5), min_size=1, max_size=5))
    jobs = [job for job, route in enumerate(routes) for _ in route]
    left = [
        list(range(sum(map(len, routes[:j])), sum(map(len, routes[: j + 1])))) for j in range(5)
    ]
    order = [left[job].pop(0) for job in draw(st.permutations(jobs))]
    return build(routes, order)


def apply_move(graph: DisjunctiveGraph, u: int, v: int) -> int:
    """Make move (u, v); the new makespan, or -1 when this would close a cycle."""
    before, after = disjunctive.neighbours_after_move(graph, u, v)
    machine, duration = graph.machine[u], graph.duration[u]
    return int(disjunctive.reinsert(graph, u, machine, duration, before, after))


def walk(graph: DisjunctiveGraph, data: st.DataObject) -> Iterator[int]:
    """Make a few random moves, cyclic ones refused; yields the makespan after each."""
    yield disjunctive.heads_tails(graph)
    for _ in range(5):
        pairs = [
            pair for s in sequences(graph).values() for pair in product(s, s) if len({*pair}) > 1
        ]
        if pairs:
            makespan = apply_move(graph, *data.draw(st.sampled_from(pairs)))
            if makespan >= 0:
                yield makespan


@given(graphs(), st.data())
def test_heads_tails_and_order_are_right_after_every_move(graph: DisjunctiveGraph, data: Any):
    for makespan in walk(graph, data):
        assert_up_to_date(graph, makespan)
        assert disjunctive.heads_tails(graph) == makespan
        assert_up_to_date(graph, makespan)


@given(graphs())
def test_a_move_does_what_it_says_or_is_refused_for_a_cycle(graph: DisjunctiveGraph):
    before = [array.copy() for array in graph]
    machines = sequences(graph)
    for sequence in machines.values():
        for u, v in product(sequence, sequence):
            if u == v:
                continue
            target = moved(machines, u, v)
            makespan = apply_move(graph, u, v)
            if reference(graph, target) is None:
                assert makespan == -1
                for array, old in zip(graph[:-1], before[:-1], strict=True):
                    assert (array == old).all()
            else:
                assert sequences(graph) == target
                assert_up_to_date(graph, makespan)
                for array, old in zip(graph, before, strict=True):
                    array[:] = old


@given(graphs(), st.data())
def test_an_operation_can_change_its_machine(graph: DisjunctiveGraph, data: Any):
    machines = sequences(graph)
    u = data.draw(st.integers(0, len(graph.order) - 1))
    machine = data.draw(st.integers(0, len(machines) - 1))
    duration = data.draw(st.integers(0, 9))
    target = {m: [op for op in sequence if op != u] for m, sequence in machines.items()}
    place = data.draw(st.integers(0, len(target[machine])))
    n = len(graph.order)
    before = target[machine][place - 1] if place else n
    after = target[machine][place] if place < len(target[machine]) else n
    target[machine].insert(place, u)
    proven = disjunctive.fits_between(graph, u, before, after)
    makespan = disjunctive.reinsert(graph, u, machine, duration, before, after)
    if makespan == -1:
        assert reference(graph, target) is None
        assert not proven
        assert sequences(graph) == machines
        assert_up_to_date(graph, disjunctive.heads_tails(graph))
    else:
        assert sequences(graph) == target
        assert graph.duration[u] == duration
        assert_up_to_date(graph, makespan)


@given(graphs())
def test_a_path_is_never_overlooked(graph: DisjunctiveGraph):
    before = predecessors(graph, sequences(graph))
    reaches: set[tuple[int, int]] = set()
    for op in graph.order.tolist():
        reaches |= {(op, op)}
        reaches |= {(a, op) for p in before[op] for a, b in set(reaches) if b == p}
    assert all(disjunctive.may_reach(graph, a, b) for a, b in reaches)


@given(graphs(), st.integers(0, 2**63))
def test_a_critical_path_is_a_longest_path_cut_where_the_machine_changes(
    graph: DisjunctiveGraph, seed: int
):
    makespan = disjunctive.heads_tails(graph)
    blocks, _ = critical(graph, seed)
    path = [op for block in blocks for op in block]
    assert sum(int(graph.duration[op]) for op in path) == makespan
    for a, b in pairwise(path):
        assert b in (graph.job_next[a], graph.machine_next[a])
    machines = [{int(graph.machine[op]) for op in block} for block in blocks]
    assert all(len(block) == 1 for block in machines)
    assert all(a != b for a, b in pairwise(machines))


@pytest.mark.parametrize("neighbourhood", [disjunctive.n5_moves, disjunctive.n6_moves])
@given(graph=graphs(), data=st.data())
def test_moves_of_a_neighbourhood_close_no_cycle(
    neighbourhood: Any, graph: DisjunctiveGraph, data: Any
):
    for _ in walk(graph, data):
        _, list_moves = critical(graph)
        for u, v in list_moves(neighbourhood):
            assert reference(graph, moved(sequences(graph), u, v)) is not None


@given(graphs(min_duration=1))
def test_n5_is_complete_for_positive_durations(graph: DisjunctiveGraph):
    blocks, list_moves = critical(graph)
    jobs = np.cumsum(graph.job_prev[:-1] == len(graph.order))  # job of each operation
    front = {(b[0], b[1]) for b in blocks[1:] if len(b) > 1}
    back = {(b[-2], b[-1]) for b in blocks[:-1] if len(b) > 1}
    expected = {(u, v) for u, v in front | back if jobs[u] != jobs[v]}
    found = list_moves(disjunctive.n5_moves)
    assert len(found) == len(set(found))
    assert set(found) == expected


@given(graphs())
def test_n6_contains_n5_and_lists_nothing_twice(graph: DisjunctiveGraph):
    _, list_moves = critical(graph)
    machines = sequences(graph)

    def results(moves: list[tuple[int, int]]) -> set[str]:
        return {str(moved(machines, u, v)) for u, v in moves}

    n5, n6 = list_moves(disjunctive.n5_moves), list_moves(disjunctive.n6_moves)
    assert results(n5) <= results(n6)
    assert len(results(n6)) == len(n6)


@given(graphs(), st.data())
def test_the_estimate_of_a_swap_is_the_longest_path_through_it(graph: DisjunctiveGraph, data: Any):
    for _ in walk(graph, data):
        _, list_moves = critical(graph)
        for u, v in list_moves(disjunctive.n5_moves):
            expected = reference(graph, moved(sequences(graph), u, v))
            assert expected is not None
            heads, tails = expected
            longest = max(heads[op] + int(graph.duration[op]) + tails[op] for op in (u, v))
            assert disjunctive.estimate(graph, u, v) == longest
            assert disjunctive.estimate(graph, v, u) == longest  # the same swap, seen from v


# Three jobs on machine 0 between a first operation (job 1 only) and last ones elsewhere:
# the critical path is 1: (m1, 2), then 1, 0, 2 on machine 0, then 2: (m2, 4).
ROUTES = [[(0, 3)], [(1, 2), (0, 3)], [(0, 3), (2, 4)]]
ORDER = [1, 2, 0, 3, 4]


def test_worked_example():
    graph = build(ROUTES, ORDER)
    assert graph.head[:-1].tolist() == [5, 0, 2, 8, 11]
    assert graph.tail[:-1].tolist() == [7, 13, 10, 4, 0]
    blocks, list_moves = critical(graph)
    assert blocks == [[1], [2, 0, 3], [4]]
    assert list_moves(disjunctive.n5_moves) == [(0, 3), (2, 0)]
    assert list_moves(disjunctive.n6_moves) == [(2, 3), (0, 3), (0, 2), (3, 2)]
    assert disjunctive.estimate(graph, 3, 2) == 9
    assert apply_move(graph, 3, 2) == 9
    assert graph.head[:-1].tolist() == [6, 0, 3, 0, 3]


def test_nothing_moves_to_the_front_of_the_first_block_or_the_end_of_the_last():
    graph = build([[(0, 3)], [(0, 3)], [(0, 3), (1, 2)], [(1, 4)], [(1, 4)]], [0, 1, 2, 3, 4, 5])
    blocks, list_moves = critical(graph)
    assert blocks == [[0, 1, 2], [3, 4, 5]]
    assert list_moves(disjunctive.n5_moves) == [(1, 2), (3, 4)]
    assert list_moves(disjunctive.n6_moves) == [(0, 2), (1, 2), (4, 3), (5, 3)]


def test_ties_between_critical_paths_are_broken_by_the_seed():
    graph = build([[(0, 2), (1, 2)], [(2, 2), (3, 2)]], [0, 1, 2, 3])
    starts = {critical(graph, seed)[0][0][0] for seed in range(20)}
    assert starts == {0, 2}
