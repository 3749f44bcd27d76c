"""The benchmark: all families' suites, baselines, shipped policies and speed; one report.

    python benchmarks/suite.py --short            within 15 minutes on two cores
    python benchmarks/suite.py --workers 8        in full; stop it and start it again: it goes on

Results of each suite are in a folder of their own, as evaluate.py writes them; ``report.html``
shows all of them, ``readme.md`` has the tables of the README, and ``--readme README.md`` puts them
there. Speed, as benchmarks/env_speed.py measures it, is measured each time all families are asked
for.
"""

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import tyro

from makespan.baselines.evaluation import Evaluation, Plan, compare, is_rule, load_suite
from makespan.baselines.report import Page, Picture, Section, headline, sections, write_page
from makespan.baselines.results import Row, find_contradictions
from makespan.baselines.runner import Workbench, hardware, registered_family
from makespan.baselines.summary import SolverSummary, Summary, Table
from makespan.benchmarks import env_speed
from makespan.envs import FAMILIES
from makespan.envs.core.errors import MakespanError, UnknownNameError, UsageError
from makespan.envs.core.files import read_text, write_atomically
from makespan.train import set_threads

FOLDER = Path("reports/benchmark")
START, END = "<!-- benchmark: python benchmarks/suite.py -->", "<!-- end of benchmark -->"


@dataclass(frozen=True)
class Entry:
    """A suite to be run.

    Attributes:
        family: its word on the command line.
        suite: of the family.
        solvers: besides the rules; first the shipped policy.
        rules: specifications; None for all of the family, under its default options.
        time_limit_s: per instance, for solvers that search.
        note: what the instances are, for the table of the README.
    """

    family: str
    suite: str
    solvers: tuple[str, ...]
    rules: tuple[str, ...] | None = None
    time_limit_s: float = 10.0
    note: str = ""

    def specs(self, workbench: Workbench) -> tuple[str, ...]:
        """All solvers of the entry."""
        if self.rules is not None:
            return (*self.solvers, *self.rules)
        rules = [
            name
            for name, make in workbench.family.policies.items()
            if not getattr(make, "learnt", False) and is_rule(workbench.solver(name))
        ]
        return tuple(dict.fromkeys([*self.solvers, *rules]))


_JOB_SHOP_RULES = (
    *("nondelay/pilot", "active/pilot", "nondelay/atc", "nondelay/fdd-mwkr", "nondelay/mwkr"),
    *("nondelay/mor", "nondelay/spt", "active/mwkr"),
)
_JOB_SHOP = ("pretrained", "pretrained:samples=128", "anytime", "tabu", "cp-sat")
_FLEXIBLE = ("pretrained-flexible", "pretrained-flexible:samples=64", "tabu")
_BLOCKING = ("pretrained", "pilot:lookahead=varied")
_IMPROVE = ("500/n6/pretrained", "tabu")
_MOVES = (
    *("500/n6/tabu-list", "500/n6/no-return", "500/n6/annealing", "500/n6/best-improvement"),
    *("500/n6/greedy", "500/n5/random"),
)
_DAG = (
    "pretrained",
    "pretrained:samples=64",
    "heft",
    "lookahead-heft",
    "peft",
    "cpop",
    "dls",
    "etf",
)
_STREAM_RULES = ("least-work", "etf", "srpt")
_ROUTING_RULES = (
    *("round-robin", "jsq", "least-tokens", "max-capacity", "llumnix", "dynamo", "lmetric"),
    *("marginal", "central-queue"),
)
_ROUTER = ("linear:weights=heterogeneous-memory", "pretrained")
_MEMORY = ("pretrained", "msa", "hybrid", "local-search")
_OFFSETS = ("pretrained", "greedy", "iterated-beam", "local-search")


def _streams(suite: str, platform: str, note: str, rules: tuple[str, ...] | None = None) -> Entry:
    """Streams on a platform, with the linear policy learnt for it; all rules without ``rules``."""
    learnt = ("pretrained", f"linear:weights={platform}")
    eager = ("eager/etf", "eager/heft") if rules is None else ()
    return Entry("soc", suite, (*learnt, *eager), rules, note=note)


SHORT = (
    Entry("jobshop", "ta01-10", _JOB_SHOP, _JOB_SHOP_RULES, 2.0, "Taillard 15x15"),
    Entry(
        "jobshop", "flexible-validation", _FLEXIBLE, _JOB_SHOP_RULES, 2.0, "flexible, 10 to 30 jobs"
    ),
    Entry("blocking", "la-10", _BLOCKING, note="la without buffers, shutdowns 10 %"),
    Entry("improve", "ta01-10", _IMPROVE, _MOVES, 2.0, note="Taillard 15x15, 500 moves"),
    Entry("dag", "layered-30", (*_DAG, "cp-sat"), time_limit_s=2.0, note="30 tasks"),
    _streams("ds3-cpu", "ds3-cpu", "CPU-only SoC, four loads", _STREAM_RULES),
    Entry(
        "routing",
        "heterogeneous",
        ("pretrained",),
        _ROUTING_RULES,
        note="6 replicas of up to 3 kinds",
    ),
    Entry(
        "routing",
        "heterogeneous-memory",
        _ROUTER,
        _ROUTING_RULES,
        note="the same with little KV memory",
    ),
    Entry("memory", "test-random", _MEMORY, time_limit_s=2.0, note="generated programs"),
    Entry("offsets", "generated", _OFFSETS, time_limit_s=1.0, note="generated, 150-300 buffers"),
)

FULL = (
    Entry("jobshop", "taillard", _JOB_SHOP, _JOB_SHOP_RULES, note="Taillard"),
    Entry(
        "jobshop",
        "flexible-validation",
        (*_FLEXIBLE, "cp-sat"),
        _JOB_SHOP_RULES,
        note="flexible, 10 to 30 jobs",
    ),
    Entry("blocking", "la-00", _BLOCKING, note="la without buffers"),
    Entry("blocking", "la-10", _BLOCKING, note="the same, shutdowns 10 %"),
    Entry("blocking", "la-20", _BLOCKING, note="the same, shutdowns 20 %"),
    Entry("improve", "taillard", _IMPROVE, _MOVES, note="Taillard, 500 moves"),
    Entry("dag", "layered-30", (*_DAG, "cp-sat"), note="30 tasks"),
    Entry("dag", "layered-30-100", _DAG, note="30 to 100 tasks"),
    Entry("dag", "structured", _DAG, note="linear algebra, FFT, stencils"),
    Entry("dag", "workflows", _DAG, note="shapes of scientific workflows"),
    _streams("ds3-default", "ds3-default", "DS3's SoC, seven scales"),
    _streams("ds3-cpu", "ds3-cpu", "CPU-only SoC, four loads"),
    _streams("ds3-default-noise", "ds3-default", "DS3's SoC, noise 0 to 0.5"),
    _streams("toy", "toy", "three processors"),
    Entry("routing", "homogeneous", ("pretrained",), note="4 equal replicas"),
    Entry("routing", "heterogeneous", ("pretrained",), note="6 replicas of up to 3 kinds"),
    Entry("routing", "heterogeneous-memory", _ROUTER, note="the same with little KV memory"),
    Entry("routing", "memory", ("linear:weights=memory", "pretrained"), note="4, little KV memory"),
    Entry(
        "routing",
        "five-tasks",
        ("linear:weights=five-tasks", "pretrained"),
        note="the five-task mixture, 4 V100",
    ),
    Entry("routing", "prefix", ("pretrained",), note="shared prefixes"),
    Entry("memory", "test-random", _MEMORY, note="generated programs"),
    Entry("memory", "test", _MEMORY, note="traced programs"),
    Entry("memory", "test-dynamic", _MEMORY, note="traced programs, dynamic copies"),
    Entry("offsets", "generated", _OFFSETS, note="generated, 150-300 buffers"),
)


@dataclass(frozen=True)
class Finished:
    """An entry with its results."""

    entry: Entry
    rows: Sequence[Row]
    summary: Summary | None
    option_names: Sequence[str]
    pictures: Sequence[Picture]

    @property
    def title(self) -> str:
        """Of its part of the report."""
        return f"{self.entry.family}, {self.entry.suite}"


def finish(entry: Entry, out: Path, backend: str, workers: int) -> Finished:
    """Run what is missing of an entry."""
    make_family = partial(registered_family, entry.family)
    workbench = Workbench(make_family())
    instances, best_known = load_suite(workbench.family, entry.suite)
    plan = Plan(
        make_family=make_family,
        workbench=workbench,
        instances=instances,
        best_known=best_known,
        specs=entry.specs(workbench),
        seeds=(0,),
        time_limit_s=entry.time_limit_s,
        own_files=False,
        out=out / f"{entry.family}-{entry.suite}",
    )
    plan.check()
    plan.out.mkdir(parents=True, exist_ok=True)
    evaluation = Evaluation(plan)
    _run(entry, evaluation, backend, workers)
    rows, summary = compare(evaluation)
    return Finished(entry, rows, summary, plan.option_names, evaluation.pictures(summary))


def _run(entry: Entry, evaluation: Evaluation, backend: str, workers: int) -> None:
    """Behind a progress bar."""
    from rich.progress import track

    title = f"{entry.family}, {entry.suite}"
    missing = len(evaluation.missing())
    for _ in track(evaluation.run(backend, workers), title, total=missing):
        pass


def speed_table() -> Table:
    """Scheduled operations per second of our environments and of others that are installed."""
    set_threads(os.cpu_count() or 1)
    results, about = env_speed.measure()
    rate = "operations/s"
    return Table(
        title=f"{env_speed.INSTANCE}, scheduled operations per second, {about['cores']} cores",
        columns=("environment", "rows", rate, "our batch is faster by"),
        text_columns=1,
        lines=tuple(
            (
                row["environment"],
                f"{row['rows']:,}",
                f"{row[rate]:,.0f}",
                f"{row['vector / it']:,.1f}",
            )
            for row in results
        ),
        note=f"{about['processor']}, load {about['load_1min']} at the start",
    )


def write_report(
    finished: Sequence[Finished],
    speed: Table | None,
    path: Path,
    facts: Sequence[tuple[str, str]],
) -> None:
    """One page with the charts and tables of all entries."""
    found = [] if speed is None else [Section("Speed", table=speed)]
    for part in finished:
        for section in sections(part.rows, part.summary, part.option_names):
            title = f"{part.title}: {section.title}"
            found.append(Section(title, section.chart, section.table, section.folded))
    write_page(
        path,
        Page(
            title="makespan: benchmark",
            headline=" ".join(f"{p.title}: {headline(p.summary, p.rows)}" for p in finished),
            facts=facts,
            sections=found,
            pictures=[
                Picture(picture.path, f"{part.title}: {picture.caption}")
                for part in finished
                for picture in part.pictures
            ],
            warnings=[text for part in finished for text in find_contradictions(part.rows)],
            left_out=[name for p in finished if p.summary for name in p.summary.left_out],
        ),
    )


def readme_table(finished: Sequence[Finished]) -> str:
    """The table of the README: best rule, shipped policy and best solver of each suite."""
    columns = (
        *("family", "instances", "gap to", "best rule", "shipped policy, greedy"),
        *("difference, points (95 %)", "best of all"),
    )
    lines = [_readme_line(part, part.summary) for part in finished if part.summary is not None]
    return _markdown(columns, lines)


def _markdown(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = "|---" * len(columns) + "|"
    head, *body = (f"| {' | '.join(cells)} |" for cells in (columns, *lines))
    return "\n".join([head, rule, *body]) + "\n"


def _readme_line(part: Finished, summary: Summary) -> tuple[str, ...]:
    by_spec = {solver.spec: solver for solver in summary.solvers}
    rule, policy = by_spec[str(summary.baseline)], by_spec[part.entry.solvers[0]]
    assert policy.paired is not None
    low, high = policy.paired.interval
    return (
        part.entry.family,
        f"{part.entry.suite}: {part.entry.note}, {len(summary.instances)}",
        summary.gap_to,
        _solver_cell(rule),
        f"{policy.overall.gap:.2f} %",
        f"{policy.paired.mean:+.2f} ({low:+.2f} to {high:+.2f})",
        _solver_cell(summary.solvers[0]),
    )


def _solver_cell(solver: SolverSummary) -> str:
    gap = round(solver.overall.gap, 2) + 0.0  # not -0.00
    return f"{gap:.2f} % ({solver.spec})"


def around_tables(readme: Path) -> tuple[str, str]:
    """What stands before and behind the tables of a README, the marks included.

    Raises:
        UsageError: when the file or the marks are missing.
    """
    text = read_text(readme, UsageError)
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise UsageError(f"{readme}: found no {START if not start else END!r}")
    return before + start, end + after


def main(
    short: bool = False,
    families: tuple[str, ...] = (),
    out: Path | None = None,
    backend: Literal["", "serial", "process", "ray"] = "",
    workers: int = 1,
    readme: Path | None = None,
) -> None:
    """Run the benchmark, or go on with it.

    Args:
        short: fewer and smaller suites, shorter time limits.
        families: only these, and no speed; none: all.
        out: folder of the results.
        backend: serial, process or ray; empty: serial with one worker, else process.
        workers: processes.
        readme: put the tables into that file.
    """
    set_threads(1)
    try:
        _run_all(
            short,
            families,
            out or FOLDER / ("short" if short else "full"),
            backend,
            workers,
            readme,
        )
    except MakespanError as error:
        raise SystemExit(f"suite.py: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit("suite.py: interrupted; the same command goes on") from None


def _run_all(
    short: bool,
    families: tuple[str, ...],
    out: Path,
    backend: str,
    workers: int,
    readme: Path | None,
) -> None:
    for name in families:
        if name not in FAMILIES:
            raise UnknownNameError("family", name, FAMILIES)
    if workers < 1:
        raise UsageError(f"workers: found {workers}, expected at least 1")
    around = around_tables(readme) if readme is not None else None
    started = time.perf_counter()
    entries = [e for e in (SHORT if short else FULL) if not families or e.family in families]
    backend = backend or ("serial" if workers == 1 else "process")
    finished = [finish(entry, out, backend, workers) for entry in entries]
    speed = None if families else speed_table()
    facts = [
        ("Command", f"python benchmarks/suite.py {' '.join(sys.argv[1:])}"),
        ("Date", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())),
        ("Hardware", hardware()),
        ("Seconds of this run", f"{time.perf_counter() - started:.0f}, {workers} process(es)"),
    ]
    write_report(finished, speed, out / "report.html", facts)
    table = readme_table(finished)
    if speed is not None:
        table += f"\n{speed.title} ({speed.note}):\n\n{_markdown(speed.columns, speed.lines)}"
    write_atomically(out / "readme.md", table)
    if readme is not None and around is not None:
        before, after = around
        write_atomically(readme, f"{before}\n{table}{after}")
    print(table)
    print(out / "report.html")


if __name__ == "__main__":
    tyro.cli(main)
