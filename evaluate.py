"""Command line: compare policies and solvers on a benchmark suite, or solve one's own instances."""

import dataclasses
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from makespan.envs.core.errors import MakespanError, UnknownNameError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from makespan.baselines.evaluation import Evaluation, Plan
    from makespan.baselines.results import Row
    from makespan.baselines.summary import Summary, Table
    from makespan.envs.core.family import Family

    Families = Mapping[str, Callable[[], Family]]

#: Up to this many solutions are listed one by one on the terminal.
LISTED = 24


@dataclass(frozen=True)
class Options:
    """Compare policies and solvers on a benchmark suite, or solve your own instances.

    Every solution is validated. Results go to a CSV file, a report in HTML, and tables on the
    terminal. Stop it with Ctrl-C and start it again with the same --out: it continues.

    Try: evaluate.py jobshop --list

    evaluate.py jobshop --suite ta01-10 --policies nondelay/mwkr,active/mwkr,cp-sat

    evaluate.py jobshop --instance my.txt --policies pretrained cp-sat --time-limit 60
    """

    family: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FAMILY")]
    """Kind of problem, e.g. jobshop."""
    list: bool = False
    """Print the suites, policies and solvers of the family, and stop."""
    suite: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Set of benchmark instances."""
    instance: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FILE [FILE ...]")] = ()
    """Your own instances; each solution is also written as files and drawn."""
    policies: Annotated[tuple[str, ...], tyro.conf.arg(metavar="SPEC [SPEC ...]")] = ()
    """Policies and solvers, separated by commas or spaces: name, option/name, name:key=value."""
    time_limit: Annotated[float, tyro.conf.arg(metavar="SECONDS")] = 10.0
    """Per instance, for solvers that search."""
    seed: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """First seed of the random generators."""
    seeds: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    """Number of seeds; every policy is run with each."""
    baseline: Annotated[str | None, tyro.conf.arg(metavar="SPEC")] = None
    """Reference of the paired tests. None: the best dispatching rule of the run."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """Where results go, continued if there are some. None: a new folder in reports."""
    workers: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    """Processes to share the instances among; the results are the same."""
    backend: Literal["serial", "process", "ray"] | None = None
    """Where solvers run: here, in processes, or in the Ray cluster of RAY_ADDRESS (one on this
    machine without it). None: here with one worker, else in processes."""
    threads: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    """Threads per process for neural networks."""
    quiet: bool = False
    """Print nothing but errors."""

    def given(self, family: "Family") -> "dict[str, tuple[str, ...]]":
        """What was given to each source of the family."""
        return {name: getattr(self, name) for name in family.sources}

    def check(self, family: "Family") -> None:
        """Raise UsageError for options that contradict each other."""
        given = self.given(family)
        if bool(self.suite) == bool(self.instance or any(given.values())):
            own = " or ".join(["--instance FILE", *(f"--{name}" for name in given)])
            raise UsageError(f"give either --suite NAME or {own}; --list shows suites")
        if not self.policies:
            raise UsageError("give --policies; --list shows them")
        for name in ("seeds", "workers", "threads"):
            if getattr(self, name) < 1:
                raise UsageError(f"--{name}: found {getattr(self, name)}, expected at least 1")
        if self.seed < 0:
            raise UsageError(f"--seed: found {self.seed}, expected at least 0")
        if not self.time_limit > 0:
            raise UsageError(f"--time-limit: found {self.time_limit}, expected more than 0")


def main(argv: Sequence[str] | None = None, families: "Families | None" = None) -> int:
    """Run the command line.

    Args:
        argv: arguments; those of the process when None.
        families: name -> function that makes the family; all registered ones when None.

    Returns:
        0, or 1 when a solver failed, 2 for a mistake on the command line or in a file, 130 when
        interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    families = _families() if families is None else families
    named = _named_family(arguments, families)
    options = tyro.cli(
        _options_type(None if named is None else families[named]()),
        prog="evaluate.py",
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    from makespan.baselines.runner import RunError

    try:
        return _evaluate(options, arguments, families)
    except RunError as error:
        return _fail(str(error), 1)
    except MakespanError as error:
        return _fail(str(error), 2)
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error), 2)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)


def _families() -> "Families":
    from makespan.baselines.runner import registered_family
    from makespan.envs import FAMILIES

    return {name: partial(registered_family, name) for name in FAMILIES}


def _named_family(arguments: Sequence[str], families: "Families") -> str | None:
    """The first word that names a family and is not the value of an option, if there is one."""
    for before, word in pairwise(["", *arguments]):
        if word in families and (before in ("--list", "--quiet") or not before.startswith("--")):
            return word
    return None


def _options_type(family: "Family | None") -> type[Options]:
    """The options, with those of the family's own sources of instances."""
    fields = [
        (
            name,
            Annotated[tuple[str, ...], tyro.conf.arg(metavar=source.metavar, help=source.help)],
            dataclasses.field(default=()),
        )
        for name, source in (family.sources if family else {}).items()
    ]
    kind = dataclasses.make_dataclass("Options", fields, bases=(Options,), frozen=True)
    kind.__doc__ = Options.__doc__
    return kind


def _fail(message: str, code: int) -> int:
    print(f"evaluate.py: error: {message}", file=sys.stderr)
    return code


def _evaluate(options: Options, arguments: list[str], families: "Families") -> int:
    from rich.console import Console

    console = Console(quiet=options.quiet, highlight=False)
    if not console.is_terminal:
        console.width = 150
    if options.family not in families:
        raise UnknownNameError("family", options.family, families)
    if options.list:
        _print_names(console, families[options.family]())
        return 0
    plan = _make_plan(options, families[options.family])
    plan.check(options.baseline)
    return _run(options, arguments, plan, console)


def _print_names(console: "Console", family: "Family") -> None:
    console.print("[bold]Suites[/] (--suite NAME)")
    for name in family.suites:
        console.print(f"  {name}")
    choices = [f"{value}/" for values in family.problem_options.values() for value in values]
    prefix = f"; each also with {', '.join(choices)} before it" if choices else ""
    console.print(f"[bold]Policies[/] (--policies NAME{prefix})")
    for name in family.policies:
        console.print(f"  {name}")
    console.print("[bold]Solvers[/] (--policies NAME or NAME:key=value)")
    for name in family.solvers:
        console.print(f"  {name}")


def _make_plan(options: Options, make_family: "Callable[[], Family]") -> "Plan":
    from makespan.baselines.evaluation import Plan, file_name, load_own, load_suite, split_specs
    from makespan.baselines.runner import Workbench

    family = make_family()
    options.check(family)
    if options.suite is not None:
        instances, best_known = load_suite(family, options.suite)
    else:
        instances, best_known = load_own(family, options.instance, options.given(family))
    label = file_name(options.suite or instances[0].name)
    new_folder = Path("reports") / f"{family.name}-{label}-{time.strftime('%Y%m%d-%H%M%S')}"
    return Plan(
        make_family=make_family,
        workbench=Workbench(family),
        instances=instances,
        best_known=best_known,
        specs=split_specs(options.policies),
        seeds=tuple(range(options.seed, options.seed + options.seeds)),
        time_limit_s=options.time_limit,
        own_files=options.suite is None,
        out=options.out or new_folder,
    )


def _run(options: Options, arguments: list[str], plan: "Plan", console: "Console") -> int:
    from makespan.baselines.evaluation import Evaluation, compare

    evaluation = Evaluation(plan)
    total, missing = len(plan.tasks), len(evaluation.missing())
    if missing < total:
        console.print(
            f"{total - missing} of {total} results are taken from {evaluation.results.path}",
            markup=False,
            soft_wrap=True,
        )
    interrupted = False
    try:
        _solve(evaluation, options, console)
    except KeyboardInterrupt:
        interrupted = True
    rows, summary = compare(evaluation, options.baseline)
    report = _report(options, arguments, evaluation, rows, summary, console)
    made = {"results": evaluation.results.path, "report": report}
    if plan.own_files:
        made |= {"solutions": plan.out / "solutions", "pictures": plan.out / "pictures"}
    for name, path in made.items():
        console.print(f"{name}: {path}", markup=False, soft_wrap=True)
    if interrupted:
        left = len(evaluation.missing())
        again = [*arguments, *([] if options.out else ["--out", str(plan.out)])]
        command = f"python evaluate.py {shlex.join(again)}"
        return _fail(f"interrupted with {left} of {total} to go; to continue: {command}", 130)
    return 0


def _solve(evaluation: "Evaluation", options: Options, console: "Console") -> None:
    """Run what is missing behind a progress bar."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=console.quiet,
    ) as progress:
        bar = progress.add_task(
            "starting (the first run compiles)", total=len(evaluation.missing())
        )
        backend = options.backend or ("serial" if options.workers == 1 else "process")
        for row in evaluation.run(backend, options.workers, options.threads):
            progress.update(bar, advance=1, description=f"{row.instance}, {row.solver}")
        progress.update(bar, description="solved")


def _report(
    options: Options,
    arguments: list[str],
    evaluation: "Evaluation",
    rows: "list[Row]",
    summary: "Summary | None",
    console: "Console",
) -> Path:
    """Print the tables and write the HTML report; returns its path."""
    from rich.markup import escape

    from makespan.baselines.report import write_report
    from makespan.baselines.results import find_contradictions
    from makespan.baselines.summary import (
        metrics_table,
        paired_table,
        quality_table,
        run_table,
        size_table,
    )

    plan = evaluation.plan
    warnings = find_contradictions(rows)
    if len(rows) <= LISTED:
        _print_table(console, run_table(rows, plan.option_names))
    if summary is not None and len(summary.instances) > 1:
        _print_table(console, quality_table(summary))
        if len(summary.sizes) > 1:
            _print_table(console, size_table(summary))
        against_baseline = paired_table(summary)
        if against_baseline is not None:
            _print_table(console, against_baseline)
    figures = None if summary is None else metrics_table(summary)
    if figures is not None:
        _print_table(console, figures)
    for warning in warnings:
        console.print(f"[bold yellow]warning:[/] {escape(warning)}", soft_wrap=True)
    path = plan.out / "report.html"
    write_report(
        path,
        title=f"{plan.family.name}: {options.suite or 'own instances'}",
        facts=_facts(options, arguments, plan, rows),
        rows=rows,
        summary=summary,
        option_names=plan.option_names,
        pictures=evaluation.pictures(summary),
        warnings=warnings,
    )
    return path


def _facts(
    options: Options, arguments: list[str], plan: "Plan", rows: "list[Row]"
) -> list[tuple[str, str]]:
    """What was run, for the top of the report."""
    names = [instance.name for instance in plan.instances]
    shown = ", ".join(names if len(names) <= 6 else [*names[:3], "...", names[-1]])
    return [
        ("Command", f"python evaluate.py {shlex.join(arguments)}"),
        ("Date", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())),
        ("Instances", f"{len(names)} ({shown})"),
        ("Policies", ", ".join(plan.specs)),
        ("Seeds", ", ".join(map(str, plan.seeds))),
        ("Time limit", f"{options.time_limit:g} s per instance for solvers that search"),
        ("Results", f"{len(rows)} of {len(plan.tasks)}"),
        ("Version", "makespan " + ", ".join(dict.fromkeys(row.version for row in rows))),
        ("Hardware", "; ".join(dict.fromkeys(row.hardware for row in rows))),
        ("Processes", f"{options.workers}, {options.threads} thread(s) each"),
    ]


def _print_table(console: "Console", table: "Table") -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable
    from rich.text import Text

    grid = RichTable(
        title=Text(table.title),
        title_justify="left",
        title_style="bold",
        caption=Text(table.note),
        caption_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    for index, column in enumerate(table.columns):
        grid.add_column(column, justify="left" if index < table.text_columns else "right")
    for line in table.lines:
        grid.add_row(*map(Text, line))  # not as markup, which names of files may look like
    console.print(grid)


if __name__ == "__main__":
    raise SystemExit(main())
