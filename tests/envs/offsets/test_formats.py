"""Files: round trips, and messages that name the line."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from makespan.envs.core.errors import InstanceError, InvalidSolutionError, UnknownNameError
from makespan.envs.offsets.examples import ALIGNED, EXAMPLES, FIVE, WITH_FIXED
from makespan.envs.offsets.formats import (
    read_instance,
    read_solution,
    write_instance,
    write_solution,
)
from makespan.envs.offsets.instance import OffsetInstance
from makespan.envs.offsets.solution import OffsetSolution


def read(folder: Path, text: str) -> OffsetInstance:
    path = folder / "buffers.csv"
    path.write_text(text)
    return read_instance(path)


def test_a_table_of_minimalloc(tmp_path: Path) -> None:
    instance = read(tmp_path, "id,lower,upper,size\nb1,0,3,4\nb2,3,9,4\n")
    assert instance.name == "buffers"
    assert instance.ids == ("b1", "b2")
    assert instance.upper.tolist() == [3, 9]
    assert instance.capacity == 0


def test_other_names_of_columns_and_inclusive_ends(tmp_path: Path) -> None:
    instance = read(tmp_path, "size,buffer_id,start,end\n4,b1,0,2\n4,b2,3,8\n")
    assert instance.lower.tolist() == [0, 3]
    assert instance.upper.tolist() == [3, 9]


def test_alignment_fixed_offsets_and_columns_without_use(tmp_path: Path) -> None:
    instance = read(
        tmp_path,
        "id,lower,upper,size,alignment,offset,hint,gaps\na,0,2,4,4,8,1,\nb,0,2,3,1,,,\n",
    )
    assert instance.alignment.tolist() == [4, 1]
    assert instance.offset.tolist() == [8, -1]


def test_empty_lines_comments_windows_line_ends_and_quotes(tmp_path: Path) -> None:
    instance = read(tmp_path, '# made by hand\r\nid,lower,upper,size\r\n\r\n"a,1",0,2,4\r\n')
    assert instance.ids == ("a,1",)


@pytest.mark.parametrize("instance", EXAMPLES.values(), ids=lambda instance: instance.name)
@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_what_is_written_can_be_read(tmp_path: Path, instance: OffsetInstance, suffix: str) -> None:
    path = tmp_path / f"{instance.name}.{suffix}"
    if suffix == "csv":
        instance = replace(instance, capacity=0)
    write_instance(instance, path)
    assert read_instance(path) == instance


def test_ids_in_quotes_are_no_comments(tmp_path: Path) -> None:
    instance = replace(WITH_FIXED, ids=("#a", 'b"', "c,d", "e"), name="odd")
    write_instance(instance, tmp_path / "odd.csv")
    assert read_instance(tmp_path / "odd.csv") == instance
    solution = OffsetSolution(np.array([0, 3, 5, 3]))
    _, table = write_solution(instance, solution, tmp_path / "best")
    assert read_solution(table, instance) == solution


def test_a_capacity_comes_from_json_or_from_the_caller(tmp_path: Path) -> None:
    with pytest.raises(InstanceError, match="found a capacity, which the csv format cannot hold"):
        write_instance(FIVE, tmp_path / "five.csv")
    write_instance(FIVE, tmp_path / "five.json")
    assert read_instance(tmp_path / "five.json").capacity == 12
    assert read_instance(tmp_path / "five.json", capacity=20).capacity == 20


HEADER = "id,lower,upper,size\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found nothing, expected a header line"),
        ("lower,upper,size\n0,1,2\n", "line 1: found the columns .* without id"),
        ("id,lower,upper,size,colour\n", "line 1: found the unknown column 'colour'"),
        ("id,lower,upper,size,size\n", "line 1: found a column twice"),
        (HEADER, "buffers: found 0, expected 1 to"),
        (HEADER + "a,0,1\n", "line 2: found 3 values, expected 4: id,lower,upper,size"),
        (HEADER + "a,0,1,2\nb,x,1,2\n", "line 3: lower: found 'x', expected an integer from 0"),
        (HEADER + "a,0,1,2\nb,5,3,2\n", "line 3: found the live range 5 to 3, expected lower < up"),
        (HEADER + "a,0,1,-2\n", "line 2: size: found '-2', expected an integer from 1"),
        (HEADER + "a,0,1,2.5\n", "line 2: size: found '2.5'"),
        (HEADER + "a,0,1,99999999999999999999\n", "line 2: size: found"),
        (HEADER + "a,0,1,2\na,0,1,2\n", "line 3: found the id 'a' of line 2 again"),
        ("id,lower,upper,size,gaps\na,0,9,2,3-4\n", "line 2: gaps: found '3-4', expected nothing"),
        ("id,lower,upper,size,offset\na,0,9,2,-3\n", "line 2: offset: found '-3'"),
        ('{"kind": "offset-allocation",\n "version": }', "line 2: not JSON"),
        ("{}", "field 'kind': found None"),
    ],
)
def test_broken_files_are_refused_with_file_and_line(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(InstanceError, match=message) as caught:
        read(tmp_path, text)
    assert "buffers.csv: " in str(caught.value)


def test_missing_files_and_unknown_formats(tmp_path: Path) -> None:
    with pytest.raises(InstanceError, match="cannot be read"):
        read_instance(tmp_path / "none.csv")
    write_instance(ALIGNED, tmp_path / "a.csv")
    with pytest.raises(UnknownNameError, match="did you mean csv"):
        read_instance(tmp_path / "a.csv", format="csw")


def test_solutions_are_written_as_json_and_as_a_table(tmp_path: Path) -> None:
    solution = OffsetSolution(np.array([0, 3, 5, 3]))
    paths = write_solution(WITH_FIXED, solution, tmp_path / "folder" / "best")
    assert [path.suffix for path in paths] == [".json", ".csv"]
    assert all(read_solution(path, WITH_FIXED) == solution for path in paths)
    assert paths[1].read_text() == (
        "id,lower,upper,size,offset\na,0,4,3,0\nb,0,2,4,3\nc,2,4,2,5\nd,2,6,2,3\n"
    )
    with pytest.raises(InvalidSolutionError):
        write_solution(WITH_FIXED, OffsetSolution(np.array([0, 0, 5, 3])), tmp_path / "bad")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,offset\na,0\nb,3\nc,x\n", r"solution\.csv: line 4: offset: found 'x'"),
        ("id,offset\na,0\n", "found no buffer b, expected every buffer"),
        ("id,offset\na,0\na,3\n", "line 3: found the id 'a' of line 2 again, expected distinct"),
        ("id,offset\na,0\nb,3\nc,5\nd,3\ne,9\n", "found the buffer e, expected only those of"),
        ("id,lower\na,0\n", "columns 'id,lower', without offset, expected id,offset"),
        ("", "found nothing, expected a header line: id,offset"),
        ("{", r"solution\.csv: line 1: not JSON"),
    ],
)
def test_broken_solutions_are_refused_with_the_file(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "solution.csv"
    path.write_text(text)
    with pytest.raises(InvalidSolutionError, match=message) as caught:
        read_solution(path, WITH_FIXED)
    assert str(caught.value).count("solution.csv") == 1


def test_a_missing_solution_names_its_file_once(tmp_path: Path) -> None:
    with pytest.raises(InvalidSolutionError, match=r"none\.csv.*: cannot be read") as caught:
        read_solution(tmp_path / "none.csv", WITH_FIXED)
    assert str(caught.value).count("none.csv") == 1


def test_blanks_around_ids_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "solution.csv"
    path.write_text("id,offset\na , 0\n b,3\nc,5\nd,3\n")
    assert read_solution(path, WITH_FIXED) == OffsetSolution(np.array([0, 3, 5, 3]))
