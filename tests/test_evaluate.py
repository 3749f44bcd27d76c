"""The evaluator from the command line to the files, with a family that it has never heard of."""

import csv
import json
import multiprocessing
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
import torch

from makespan.baselines.backends import _start_worker
from makespan.evaluate import main
from makespan.tests.fake_family import AS_OF, FAMILIES

POLICIES = "shortest,inverted/shortest,inorder,shuffle,exact"


def evaluate(*arguments: str | Path) -> int:
    return main(["tasks", *map(str, arguments)], FAMILIES)


def read_csv(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def without_seconds(folder: Path) -> list[dict[str, str]]:
    return [{**row, "seconds": ""} for row in read_csv(folder)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished")
    code = evaluate(
        "--suite", "mixed", "--policies", POLICIES, "--seeds", 2, "--out", out, "--quiet"
    )
    assert code == 0
    return out


def test_csv_has_one_row_per_instance_solver_and_seed(finished):
    rows = read_csv(finished)
    assert list(rows[0]) == [
        "instance",
        "instance_hash",
        "size",
        "solver",
        "view",
        "seed",
        "time_limit_s",
        "weights_hash",
        "objective",
        "first duration",
        "lower_bound",
        "best_known_lower",
        "best_known_upper",
        "best_known_as_of",
        "gap_percent",
        "gap_to",
        "seconds",
        "status",
        "version",
        "hardware",
        "improvements",
    ]
    assert len(rows) == 7 * 5 * 2
    assert len({(row["instance"], row["solver"], row["seed"]) for row in rows}) == len(rows)


def test_the_problem_option_that_a_policy_decided_under_is_recorded(finished):
    views = {row["solver"]: row["view"] for row in read_csv(finished)}
    assert views == {
        "shortest": "clear",
        "inverted/shortest": "inverted",
        "inorder": "clear",
        "shuffle": "",
        "exact": "",
    }


def test_gaps_are_to_published_bounds_with_their_date_or_to_the_best_bound_of_the_run(finished):
    for row in read_csv(finished):
        published = row["instance"].startswith("a")
        assert row["gap_to"] == (f"best known UB {AS_OF}" if published else "lower bound")
        if row["solver"] == "exact":
            assert float(row["gap_percent"]) == 0
            assert row["status"] == "optimal"


def test_seeds_differ_for_random_solvers_and_agree_for_others(finished):
    objectives: dict[str, set[tuple[str, str]]] = {}
    for row in read_csv(finished):
        objectives.setdefault(row["solver"], set()).add((row["instance"], row["objective"]))
    assert len(objectives["shortest"]) == 7
    assert len(objectives["shuffle"]) > 7


def test_report_is_one_self_contained_file(finished):
    html = (finished / "report.html").read_text()
    links = re.findall(r"""(?:src|href)\s*=\s*["']([^"']*)""", html)
    assert links
    assert all(link.startswith(("data:", "#")) for link in links)
    assert "http" not in html
    assert "<script" not in html
    assert html.count("<svg") == 4
    assert "data:image/png;base64," in html


def test_report_says_what_was_run(finished):
    html = (finished / "report.html").read_text()
    for fact in ("--suite mixed", "0, 1", "7 (a1, a2", "10 s per instance", "70 of 70", AS_OF):
        assert fact in html


def test_tables_are_printed(tmp_path, capsys):
    evaluate("--suite", "known", "--policies", "shortest", "inorder", "--out", tmp_path)
    printed = capsys.readouterr().out
    assert "Quality and time, 4 instances" in printed
    assert "Against shortest" in printed
    assert str(tmp_path / "report.html") in printed


def test_quiet_prints_nothing(tmp_path, capsys):
    evaluate("--suite", "known", "--policies", "shortest", "--out", tmp_path, "--quiet")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("backend", ["process", pytest.param("ray", marks=pytest.mark.slow)])
def test_every_backend_gives_what_this_process_gives(tmp_path, finished, backend):
    if backend == "ray":
        pytest.importorskip("ray")
    code = evaluate(
        *("--suite", "mixed", "--policies", POLICIES, "--seeds", 2),
        *("--out", tmp_path, "--backend", backend, "--workers", 2, "--quiet"),
    )
    assert code == 0
    assert without_seconds(tmp_path) == without_seconds(finished)


def test_an_interrupted_run_keeps_and_reports_what_is_done_and_continues(tmp_path, capsys):
    trap = tmp_path / "trap"
    policies = f"shortest,patience:trap={trap}"
    arguments = ("--suite", "unknown", "--policies", policies, "--seeds", 2)

    trap.touch()
    assert evaluate(*arguments, "--out", tmp_path / "stopped") == 130
    before = read_csv(tmp_path / "stopped")
    assert [row["instance"] for row in before].count("b1") == 4
    assert len(before) == 6
    assert "b1" in (tmp_path / "stopped" / "report.html").read_text()
    message = capsys.readouterr().err
    assert "6 of 12 to go" in message
    assert f"--out {tmp_path / 'stopped'}" in message

    trap.unlink()
    assert evaluate(*arguments, "--out", tmp_path / "stopped", "--quiet") == 0
    assert evaluate(*arguments, "--out", tmp_path / "straight", "--quiet") == 0
    assert without_seconds(tmp_path / "stopped") == without_seconds(tmp_path / "straight")
    after = read_csv(tmp_path / "stopped")
    assert [row["seconds"] for row in after][:6] == [row["seconds"] for row in before]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "killed"])
def test_worker_processes_end_with_the_one_that_started_them(tmp_path, number):
    program = (
        "import sys; from makespan.evaluate import main; "
        "from makespan.tests.fake_family import FAMILIES; sys.exit(main(None, FAMILIES))"
    )
    beds = tmp_path / "beds"
    beds.mkdir()
    arguments = ["tasks", "--suite", "known", "--policies", f"asleep:folder={beds}"]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments, "--workers=2", f"--out={tmp_path / 'out'}"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    wait_until(lambda: len(list(beds.iterdir())) == 2)
    process.send_signal(number)
    _, message = process.communicate(timeout=30)
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert "interrupted with 4 of 4 to go" in message
    for worker in beds.iterdir():
        wait_until(lambda pid=int(worker.name): not is_alive(pid))


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended may wait for the init process to notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_solution_that_is_wrong_fails_the_run_and_names_solver_and_instance(tmp_path, capsys):
    assert evaluate("--suite", "unknown", "--policies", "liar", "--out", tmp_path) == 1
    message = capsys.readouterr().err
    assert "liar returned an invalid solution of b2" in message
    assert "(0, 1, 2, 3) is not a permutation" in message
    assert "Traceback" not in message
    assert [row["instance"] for row in read_csv(tmp_path)] == ["b1"]


def test_a_wrong_solution_in_a_worker_process_fails_the_run_just_so(tmp_path, capsys):
    code = evaluate("--suite", "unknown", "--policies", "liar", "--out", tmp_path, "--workers", 2)
    assert code == 1
    assert "liar returned an invalid solution of b2" in capsys.readouterr().err


def test_a_bound_that_a_solution_refutes_is_reported(tmp_path, capsys):
    evaluate("--suite", "known", "--policies", "boaster,exact", "--out", tmp_path)
    sentence = "a1: the lower bound of boaster is 1,000,000, yet exact has a valid solution of 687"
    assert sentence in capsys.readouterr().out
    assert sentence in (tmp_path / "report.html").read_text()


def test_own_files_are_solved_written_out_and_drawn(tmp_path, capsys):
    own = tmp_path / "own.txt"
    own.write_text("3 1 2")
    out = tmp_path / "out"
    code = evaluate("--instance", own, "--policies", "inverted/shortest", "exact", "--out", out)
    assert code == 0
    assert (out / "solutions" / "own__exact.json").read_text() == '{"order": [1, 2, 0]}'
    assert (out / "solutions" / "own__inverted-shortest.json").exists()
    assert (out / "pictures" / "own__exact.png").read_bytes().startswith(b"\x89PNG")
    assert {row["solver"]: row["objective"] for row in read_csv(out)} == {
        "inverted/shortest": "14",
        "exact": "10",
    }
    assert "own" in capsys.readouterr().out


def test_own_instances_come_from_the_sources_of_the_family_too(tmp_path, capsys):
    code = evaluate("--durations", "3-1-2", "5-4", "--policies", "shortest", "--out", tmp_path)
    assert code == 0
    assert "first duration" in capsys.readouterr().out
    rows = read_csv(tmp_path)
    assert [(r["instance"], r["objective"], r["first duration"]) for r in rows] == [
        ("given-3-1-2", "10", "1"),
        ("given-5-4", "13", "4"),
    ]
    assert (tmp_path / "solutions" / "given-5-4__shortest.json").exists()


def test_the_best_seed_is_written_out(tmp_path):
    own = tmp_path / "own.txt"
    own.write_text("5 1 4 2 3 9 7")
    arguments = ("--instance", own, "--policies", "shuffle", "--out", tmp_path / "out", "--quiet")
    evaluate(*arguments, "--seeds", 4)
    rows = read_csv(tmp_path / "out")
    best = min(float(row["objective"]) for row in rows)
    durations = [5, 1, 4, 2, 3, 9, 7]
    order = json.loads((tmp_path / "out/solutions/own__shuffle.json").read_text())["order"]
    ends = [sum(durations[task] for task in order[: i + 1]) for i in range(len(order))]
    assert sum(ends) == best < max(float(row["objective"]) for row in rows)


def test_published_bounds_go_to_the_benchmark_instance_not_to_its_name(tmp_path):
    from makespan.tests.fake_family import suite

    true, false = tmp_path / "a1.txt", tmp_path / "a2.txt"
    true.write_text(" ".join(map(str, suite("a", 4, 4)[0].durations)))
    false.write_text("1 2 3")
    out = tmp_path / "out"
    evaluate("--instance", true, false, "--policies", "exact", "--out", out, "--quiet")
    assert {row["instance"]: row["best_known_as_of"] for row in read_csv(out)} == {
        "a1": AS_OF,
        "a2": "",
    }


def test_results_of_other_policies_in_the_folder_are_kept(tmp_path):
    evaluate("--suite", "known", "--policies", "exact", "--out", tmp_path, "--quiet")
    evaluate("--suite", "known", "--policies", "shortest", "--out", tmp_path, "--quiet")
    assert [row["solver"] for row in read_csv(tmp_path)] == ["shortest"] * 4 + ["exact"] * 4
    assert "exact" not in (tmp_path / "report.html").read_text()


def test_results_of_a_policy_are_not_taken_for_those_of_its_new_weights(tmp_path):
    weights = tmp_path / "weights"
    arguments = ("--suite", "known", "--policies", f"learnt:file={weights}", "--quiet")
    weights.write_text("in order")
    assert evaluate(*arguments, "--out", tmp_path / "out") == 0
    before = read_csv(tmp_path / "out")
    weights.write_text("shortest")
    assert evaluate(*arguments, "--out", tmp_path / "out") == 0
    after = read_csv(tmp_path / "out")
    assert after[4:] == before
    shortest, arrived = ([float(row["objective"]) for row in rows] for rows in (after[:4], before))
    assert sum(shortest) < sum(arrived)


def test_an_edited_file_gets_the_solution_of_its_new_content(tmp_path):
    own = tmp_path / "own.txt"
    arguments = ("--instance", own, "--policies", "exact", "--out", tmp_path / "out", "--quiet")
    for text, order in (("1 2", [0, 1]), ("9 8 7", [2, 1, 0])):
        own.write_text(text)
        evaluate(*arguments)
        written = json.loads((tmp_path / "out/solutions/own__exact.json").read_text())
        assert written["order"] == order


def test_interrupted_before_every_policy_has_a_row_it_still_reports(tmp_path, capsys):
    (tmp_path / "b1.txt").write_text("3 1 2")
    (tmp_path / "b2.txt").write_text("3 1 2")
    trap = tmp_path / "trap"
    trap.touch()
    code = evaluate(
        *("--instance", tmp_path / "b1.txt", tmp_path / "b2.txt", "--out", tmp_path / "out"),
        *("--policies", f"exact,patience:trap={trap},shortest", "--baseline", "shortest"),
    )
    assert code == 130
    assert "2 of 6 to go" in capsys.readouterr().err
    assert (tmp_path / "out" / "report.html").exists()


def test_a_family_is_not_guessed_from_the_value_of_an_option(capsys):
    families = {"known": FAMILIES["tasks"], **FAMILIES}
    assert main(["--suite", "known", "tasks", "--durations", "1-2"], families) == 2
    assert "give either --suite NAME or" in capsys.readouterr().err
    assert main(["--list", "tasks"], families) == 0


def test_the_folder_of_results_stays_in_reports_whatever_the_name(tmp_path, monkeypatch):
    own = tmp_path / "50%d..x.txt"
    own.write_text("2 1")
    monkeypatch.chdir(tmp_path)
    assert evaluate("--instance", own, "--policies", "exact", "--quiet") == 0
    (folder,) = (tmp_path / "reports").iterdir()
    assert folder.name.startswith("tasks-50-d-x-")


def test_list_names_suites_policies_and_solvers(capsys):
    assert evaluate("--list") == 0
    printed = capsys.readouterr().out
    for name in ("mixed", "inorder", "shuffle", "inverted/"):
        assert name in printed


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--suite", "knwon", "--policies", "exact"], "did you mean known"),
        (["--suite", "known", "--policies", "exat"], "did you mean exact"),
        (["--suite", "known"], "give --policies"),
        (["--policies", "exact"], "give either --suite NAME or --instance FILE"),
        (["--suite", "known", "--instance", "x", "--policies", "exact"], "give either"),
        (["--suite", "known", "--policies", "exact", "--baseline", "mwkr"], "known: exact"),
        (["--suite", "known", "--policies", "exact", "--seeds", "0"], "--seeds: found 0"),
        (["--suite", "known", "--policies", "exact", "--time-limit", "0"], "--time-limit"),
        (["--instance", "/no/such/file", "--policies", "exact"], "/no/such/file: No such file"),
        (["--durations", "3-x", "--policies", "exact"], "found '3-x', expected integers"),
        (["--suite", "known", "--policies", "exact", "--out", "/proc/x"], "/proc/x"),
    ],
)
def test_mistakes_get_one_line_and_exit_code_2(arguments, expected, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert evaluate(*arguments) == 2
    message = capsys.readouterr().err
    assert expected in message
    assert message.startswith("evaluate.py: error: ")
    assert message.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_an_unknown_family_is_a_mistake(capsys):
    assert main(["taks", "--list"], FAMILIES) == 2
    assert "did you mean tasks" in capsys.readouterr().err


def test_an_unknown_flag_is_a_mistake(capsys):
    with pytest.raises(SystemExit) as error:
        evaluate("--sweet", "known")
    assert error.value.code == 2
    assert "--sweet" in capsys.readouterr().err


def test_a_broken_file_is_a_mistake_that_names_the_line(tmp_path, capsys):
    broken = tmp_path / "broken.txt"
    broken.write_text("3 1 x")
    assert evaluate("--instance", broken, "--policies", "exact", "--out", tmp_path / "o") == 2
    assert "broken.txt, line 1" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_instances_with_one_name_are_a_mistake(tmp_path, capsys):
    files = [tmp_path / "one" / "x.txt", tmp_path / "two" / "x.txt"]
    for file in files:
        file.parent.mkdir()
        file.write_text("1 2")
    assert evaluate("--instance", *files, "--policies", "exact", "--out", tmp_path / "o") == 2
    assert "'x' and 'x'" in capsys.readouterr().err


def test_a_results_file_of_something_else_is_a_mistake(tmp_path, capsys):
    (tmp_path / "results.csv").write_text("name,value\n1,2\n")
    assert evaluate("--suite", "known", "--policies", "exact", "--out", tmp_path) == 2
    assert "line 1" in capsys.readouterr().err
    assert (tmp_path / "results.csv").read_text() == "name,value\n1,2\n"


@pytest.mark.parametrize("threads", [1, 2])
def test_a_worker_process_has_the_threads_it_is_given(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(variable, str(3 - threads))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        1, context, initializer=_start_worker, initargs=(FAMILIES["tasks"], threads)
    ) as pool:
        assert pool.submit(torch.get_num_threads).result() == threads
