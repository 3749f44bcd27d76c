import contextlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from makespan.envs.core.errors import (
    InstanceError,
    InvalidSolutionError,
    UnknownNameError,
    UsageError,
)
from makespan.envs.jobshop.examples import FT06, FT06_OPTIMUM
from makespan.envs.jobshop.formats import (
    FORMATS,
    detect_format,
    format_instance,
    parse_instance,
    read_instance,
    read_solution,
    write_instance,
    write_solution,
)
from makespan.envs.jobshop.generator import FlexibleJobShopGenerator, JobShopGenerator
from makespan.envs.jobshop.instance import JobShopInstance
from makespan.envs.jobshop.solution import JobShopSolution

DOCS = Path(__file__).parents[3] / "docs"

#: Two jobs on two machines, in each format.
CLASSICAL = JobShopInstance.from_matrices([[0, 1], [1, 0]], [[3, 2], [4, 1]], "small")
STANDARD = "# two jobs\n2 2\n 0 3  1 2\n 1 4  0 1\n"
TAILLARD = """\
Nb of jobs, Nb of Machines, Time seed, Machine seed, Upper bound, Lower bound
          2           2   840612802   398197754        1231        1005
Times
  3  2
  4  1
Machines
  1  2
  2  1
"""
FLEXIBLE = JobShopInstance.from_routes([[[(0, 3), (1, 5)], (1, 2)], [(1, 4)]], name="small")
FJSPLIB = "2\t2  1.3\n2   2 1 3  2 5   1 2 2\n1 1 2 4\n\n"

EXAMPLES = {
    "standard": (STANDARD, CLASSICAL),
    "taillard": (TAILLARD, CLASSICAL),
    "fjsplib": (FJSPLIB, FLEXIBLE),
    "json": (FLEXIBLE.to_json(), FLEXIBLE),
}

seeds = st.integers(0, 2**32).map(np.random.default_rng)
sizes = st.integers(1, 5)
classical = st.builds(lambda j, m, rng: JobShopGenerator(j, m).sample(rng), sizes, sizes, seeds)
flexible = st.builds(
    lambda j, m, rng: FlexibleJobShopGenerator(j, m).sample(rng), sizes, sizes, seeds
)


@pytest.mark.parametrize("format", EXAMPLES)
def test_each_format_means_what_its_definition_says(format: str) -> None:
    text, instance = EXAMPLES[format]
    assert parse_instance(text, format, "small") == instance


@given(classical, st.sampled_from(sorted(FORMATS)))
def test_a_classical_instance_survives_every_format(instance: JobShopInstance, format: str) -> None:
    text = format_instance(instance, format)
    assert parse_instance(text, format, instance.name) == instance


@given(flexible, st.sampled_from(["fjsplib", "json"]))
def test_a_flexible_instance_survives_its_formats(instance: JobShopInstance, format: str) -> None:
    text = format_instance(instance, format)
    assert parse_instance(text, format, instance.name) == instance


@given(classical, st.sampled_from(sorted(FORMATS)))
def test_what_is_written_is_recognised(instance: JobShopInstance, format: str) -> None:
    assert detect_format(format_instance(instance, format)) == format


@pytest.mark.parametrize("format", ["standard", "taillard"])
@pytest.mark.parametrize(
    "routes", [[[[(0, 1), (1, 1)]]], [[(0, 1), (0, 1)]], [[(0, 1), (1, 1)], [(0, 1)]]]
)
def test_what_a_format_cannot_express_is_refused(routes: Any, format: str) -> None:
    instance = JobShopInstance.from_routes(routes, num_machines=2)
    with pytest.raises(
        InstanceError, match=f"does not visit every machine once, which the {format}"
    ):
        format_instance(instance, format)


def test_line_ends_and_headings_of_other_systems_are_read() -> None:
    windows = TAILLARD.replace("\n", "\r\n").replace("Times", "TIMES:")
    assert parse_instance(windows, "taillard", "small") == CLASSICAL
    assert parse_instance("Two jobs\r2 2\r0 3 1 2\r1 4 0 1", "standard", "small") == CLASSICAL


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found the end of the file (nothing), expected the numbers of jobs and machines"),
        ("2\n", "line 1: found 1 number, expected 2: the numbers of jobs and machines"),
        ("2 2 2\n", "line 1: found 3 numbers, expected 2"),
        ("0 2\n", "line 1: jobs: found '0', expected an integer from 1 to 1048576"),
        ("2 -1\n", "line 1: machines: found '-1', expected an integer from 1"),
        ("1e3 2\n", "line 1: jobs: found '1e3', expected an integer"),
        ("99999999 99999999\n", "line 1: jobs: found '99999999'"),
        ("1048576 1048576\n0 1\n", "line 2: found 2 numbers, expected 2097152: job 0"),
        ("2 2\n0 3 1 2\n", "end of the file (after line 2), expected job 1 of the 2 jobs"),
        ("2 2\n\n0 3 1 2\n0 3 1\n", "line 4: found 3 numbers, expected 4: job 1, 2 pairs"),
        ("1 2\n0 3 2 2\n", "line 2: job 0, operation 1, machine: found '2', expected an integer"),
        ("1 2\n0 3 0 2\n", "line 2: found machine 0 twice in job 0, expected every machine once"),
        ("1 2\n0 3 1 2.5\n", "line 2: job 0, operation 1, duration: found '2.5', expected an int"),
        ("1 2\n0 3 1 -2\n", "line 2: job 0, operation 1, duration: found '-2'"),
        ("1 2\n0 3 1 9999999999\n", "duration: found '9999999999', expected an integer from 0 to"),
        (f"1 2\n0 3 1 {'9' * 9999}\n", "line 2: job 0, operation 1, duration: found '99999"),
        ("1 2\n0 3 1 ٣\n", "line 2: job 0, operation 1, duration: found '٣'"),
        ("1 2\n0 3 1 2\n7\n", "line 3: found '7', expected the end of the file"),
        ("1 2\n0 1073741824 1 1\n", "durations: their total is 1073741825, expected at most"),
    ],
)
def test_a_broken_standard_file_names_the_line(text: str, message: str) -> None:
    with pytest.raises(InstanceError, match=re.escape(message)):
        parse_instance(text, "standard", "broken")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("2           2", "2           0", "line 2: machines: found '0', expected an integer from"),
        ("Times", "Durations", "line 3: found 'Durations', expected the heading 'Times'"),
        ("Machines\n", "", "line 6: found '1 2', expected the heading 'Machines'"),
        ("  4  1\n", "", "line 5: found 1 number, expected 2: a duration for each"),
        ("  4  1\n", "4\n", "line 5: found 1 number, expected 2: a duration for each operation of"),
        (
            "  2  1\n",
            "",
            "end of the file (after line 7), expected job 1 of the 2 jobs under 'Mach",
        ),
        ("  2  1\n", "2 0\n", "line 8: job 1, machine: found '0', expected an integer from 1 to 2"),
        ("  2  1\n", "2 2\n", "line 8: found machine 2 twice in job 1"),
        ("  2  1\n", "2 1\n2 1\n", "line 9: found '2 1', expected the end of the file"),
    ],
)
def test_a_broken_taillard_file_names_the_line(old: str, new: str, message: str) -> None:
    with pytest.raises(InstanceError, match=re.escape(message)):
        parse_instance(TAILLARD.replace(old, new), "taillard", "broken")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 many\n1 1 1 1\n", "line 1: found 'many', expected the mean number of alternatives"),
        ("1 2 1 1\n", "line 1: found 4 numbers, expected 2 or 3"),
        ("1 2\n0\n", "line 2: job 0, number of operations: found '0', expected an integer from 1"),
        ("1 2\n1 0\n", "job 0, operation 0, number of alternatives: found '0'"),
        ("1 2\n1 3 1 1 2 1 3 1\n", "number of alternatives: found '3', expected an integer from 1"),
        ("1 2\n1 1 0 5\n", "job 0, operation 0, machine: found '0', expected an integer from 1 to"),
        ("1 2\n1 2 1 5 1 6\n", "line 2: found machine 1 twice in job 0, operation 0"),
        ("1 2\n2 1 1 5\n", "line 2: found the end after 4 numbers, expected job 0, operation 1"),
        ("1 2\n1 1 1\n", "found the end after 3 numbers, expected job 0, operation 0, duration"),
        ("1 2\n1 1 1 5 9\n", "line 2: found 5 numbers, expected 4: job 0 ends there"),
        ("2 2\n1 1 1 5\n", "end of the file (after line 2), expected job 1 of the 2 jobs"),
        ("1 2\n9999999999 1 1 5\n", "line 2: job 0, number of operations: found '9999999999'"),
    ],
)
def test_a_broken_flexible_file_names_the_line(text: str, message: str) -> None:
    with pytest.raises(InstanceError, match=re.escape(message)):
        parse_instance(text, "fjsplib", "broken")


@given(st.sampled_from(sorted(FORMATS)), st.text(st.sampled_from("0123456789 -.\n#aTM[]{}\r\x1c٣")))
@example("fjsplib", "1 1 1\n1 1 1 1\x85")
def test_any_text_gives_an_instance_or_an_instance_error(format: str, text: str) -> None:
    for given_text in (text, f"1 1\n{text}"):
        try:
            instance = parse_instance(given_text, format, "any")
        except InstanceError:
            continue
        assert parse_instance(format_instance(instance, format), format, "any") == instance


@given(st.data(), st.sampled_from(sorted(FORMATS)))
def test_a_damaged_file_gives_an_instance_or_an_instance_error(
    data: st.DataObject, format: str
) -> None:
    words = re.findall(r"\w+|\s+|.", EXAMPLES[format][0])
    index = data.draw(st.integers(0, len(words) - 1))
    junk = st.sampled_from(["", "-1", "0", "1.5", "x", "99999999999999999999", "\n", "[", "null"])
    words[index] = data.draw(junk | st.sampled_from(words))
    with contextlib.suppress(InstanceError):
        parse_instance("".join(words), format, "damaged")


@given(st.binary(max_size=40))
def test_any_bytes_give_an_instance_or_an_instance_error(content: bytes) -> None:
    text = content.decode("latin-1")
    with contextlib.suppress(InstanceError):
        parse_instance(text, detect_format(text), "any")


@pytest.mark.parametrize(
    ("file", "format"),
    [
        ("small.txt", "standard"),
        ("small", "taillard"),
        ("small.jsp", "taillard"),
        ("small.fjs", "fjsplib"),
        ("small.txt", "fjsplib"),
        ("small.json", "json"),
        ("small.txt", "json"),
    ],
)
def test_the_format_of_a_file_is_recognised(file: str, format: str, tmp_path: Path) -> None:
    text, instance = EXAMPLES[format]
    (tmp_path / file).write_text(text)
    assert read_instance(tmp_path / file) == instance


@pytest.mark.parametrize(
    ("text", "format"),
    [
        (f"Fisher and Thompson\n{STANDARD}", "standard"),  # three words are no header
        (FJSPLIB.replace("1.3", ""), "fjsplib"),  # nor has every header a mean
        ("2 2\n0 3 1\n1 4 0 1\n", "standard"),  # a broken job offers no alternatives
        ("2 2\n", "standard"),
        ("many\n", "standard"),
    ],
)
def test_the_format_is_told_by_header_and_first_job(text: str, format: str) -> None:
    assert detect_format(text) == format


def test_the_example_of_the_documentation_is_read() -> None:
    text = (DOCS / "jobshop.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    assert parse_instance(example, "json", "") == FLEXIBLE


def test_the_name_is_that_of_the_file_unless_the_file_holds_one(tmp_path: Path) -> None:
    data = FLEXIBLE.to_dict()
    (tmp_path / "own.json").write_text(json.dumps(data))
    assert read_instance(tmp_path / "own.json").name == "small"
    del data["name"]
    (tmp_path / "own.json").write_text(json.dumps(data))
    assert read_instance(tmp_path / "own.json").name == "own"


@pytest.mark.parametrize("suffix", [".json", ".fjs", ".txt"])
def test_an_instance_is_written_in_the_format_of_the_suffix(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"ft06{suffix}"
    write_instance(FT06, path)
    assert read_instance(path) == FT06


def test_errors_of_files_begin_with_the_path(tmp_path: Path) -> None:
    path = tmp_path / "broken.txt"
    path.write_text("2 2\n0 1 1 x\n")
    with pytest.raises(InstanceError, match=rf"^{re.escape(str(path))}: line 2: .*found 'x'"):
        read_instance(path)
    path = tmp_path / "broken.json"
    path.write_text('{"kind": "job-shop",\n"version" 1}')
    with pytest.raises(InstanceError, match=rf"^{re.escape(str(path))}: line 2: not JSON"):
        read_instance(path)
    with pytest.raises(InstanceError, match="cannot be read"):
        read_instance(tmp_path / "missing.txt")


def test_unknown_formats_are_refused_with_the_close_ones(tmp_path: Path) -> None:
    (tmp_path / "small.txt").write_text(STANDARD)
    with pytest.raises(UnknownNameError, match="'tailard'; did you mean taillard"):
        read_instance(tmp_path / "small.txt", format="tailard")
    with pytest.raises(UnknownNameError, match="instance format"):
        write_instance(FT06, tmp_path / "small.txt", format="xml")


def test_a_solution_is_written_as_json_and_csv(tmp_path: Path) -> None:
    written = write_solution(FT06, FT06_OPTIMUM, tmp_path / "new" / "ft06-cp-sat:workers=0.5")
    assert [path.name for path in written] == [
        "ft06-cp-sat:workers=0.5.json",
        "ft06-cp-sat:workers=0.5.csv",
    ]
    assert sorted(written) == sorted((tmp_path / "new").iterdir())
    assert read_solution(written[0]) == FT06_OPTIMUM
    assert json.loads(written[0].read_text())["instance"] == "ft06"
    lines = written[1].read_text().splitlines()
    assert lines[:2] == ["job,operation,machine,start,end", "0,0,2,5,6"]
    assert len(lines) == 1 + 36


def test_an_invalid_solution_is_not_written(tmp_path: Path) -> None:
    incomplete = JobShopSolution(*np.array([[0, 0, 2, 0, 1]]).T)
    with pytest.raises(InvalidSolutionError, match="missing"):
        write_solution(FT06, incomplete, tmp_path / "ft06")
    assert list(tmp_path.iterdir()) == []


def test_a_solution_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        write_solution(FT06, FT06_OPTIMUM, tmp_path / "taken" / "ft06")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "solution.json: line 1: not JSON"),
        (b"[]", r"solution.json: found \[\], expected an object"),
        (b"\xff", "solution.json: found byte 0xff"),
    ],
)
def test_a_broken_solution_file_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "solution.json"
    path.write_bytes(content)
    with pytest.raises(InvalidSolutionError, match=message):
        read_solution(path)
