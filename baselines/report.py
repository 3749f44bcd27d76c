"""One self-contained HTML file that says what was run and what came out."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from makespan.baselines.charts import (
    gap_against_time_chart,
    gap_by_size_chart,
    paired_chart,
    profile_chart,
)
from makespan.baselines.results import Row
from makespan.baselines.statistics import CONFIDENCE, RESAMPLES, STRATIFIED
from makespan.baselines.summary import (
    SolverSummary,
    Summary,
    Table,
    metrics_table,
    paired_table,
    quality_table,
    robust_table,
    run_table,
    size_table,
)
from makespan.envs.core.files import write_atomically

TEMPLATE = Path(__file__).with_name("report.html")


@dataclass(frozen=True)
class Picture:
    """A picture of a solution, to be embedded.

    Attributes:
        path: of a PNG file.
        caption: below the heading "Schedules".
    """

    path: Path
    caption: str

    @property
    def base64(self) -> str:
        """The file's content, for a data URI."""
        return base64.b64encode(self.path.read_bytes()).decode()


@dataclass(frozen=True)
class Section:
    """A heading with a chart, a table, or both; ``folded`` hides the table behind a click."""

    title: str
    chart: str | None = None
    table: Table | None = None
    folded: bool = False


@dataclass(frozen=True)
class Page:
    """What stands on a page, from top to bottom.

    Attributes:
        title: of the page.
        headline: the finding in a sentence or two.
        facts: names and values for "what was run".
        sections: charts and tables.
        pictures: to embed.
        warnings: sentences for the top of the page.
        left_out: names of instances that are not compared.
    """

    title: str
    headline: str
    facts: Sequence[tuple[str, str]]
    sections: Sequence[Section]
    pictures: Sequence[Picture] = ()
    warnings: Sequence[str] = ()
    left_out: Sequence[str] = ()


def write_report(
    path: Path,
    *,
    title: str,
    facts: Sequence[tuple[str, str]],
    rows: Sequence[Row],
    summary: Summary | None,
    option_names: Sequence[str],
    pictures: Sequence[Picture] = (),
    warnings: Sequence[str] = (),
) -> None:
    """Write the report of one evaluation.

    Args:
        path: of the HTML file.
        title: of the page.
        facts: names and values for "what was run".
        rows: with gaps; all of them are listed at the end.
        summary: of the rows, or None when there is nothing to compare.
        option_names: names of the problem's options.
        pictures: to embed.
        warnings: sentences for the top of the page.
    """
    write_page(
        path,
        Page(
            title=title,
            headline=headline(summary, rows),
            facts=facts,
            sections=sections(rows, summary, option_names),
            pictures=pictures,
            warnings=warnings,
            left_out=summary.left_out if summary is not None else (),
        ),
    )


def write_page(path: Path, page: Page) -> None:
    """Lay a page out and write it at once: a reader never meets a half-written file."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    html = template.render(
        vars(page),
        confidence=f"{100 * CONFIDENCE:g} %",
        resamples=f"{RESAMPLES:,}",
        stratified=f"{STRATIFIED:,}",
    )
    write_atomically(path, html)


def sections(
    rows: Sequence[Row], summary: Summary | None, option_names: Sequence[str]
) -> list[Section]:
    """Charts and tables of one evaluation."""
    every_row = run_table(rows, option_names)
    figures = None if summary is None else metrics_table(summary)
    further = [] if figures is None else [Section(figures.title, table=figures)]
    if summary is None or len(summary.instances) == 1:
        return [Section("Solutions", table=every_row), *further]
    found = [
        Section("Quality and time", table=quality_table(summary)),
        Section("Gap against time", chart=gap_against_time_chart(summary)),
        Section(
            "Gap by size",
            chart=gap_by_size_chart(summary),
            table=size_table(summary) if len(summary.sizes) > 1 else None,
        ),
        Section("Performance profile", chart=profile_chart(summary), table=robust_table(summary)),
        *further,
    ]
    against_baseline = paired_table(summary)
    if against_baseline is not None:
        chart = paired_chart(summary)
        found.append(Section(against_baseline.title, chart=chart, table=against_baseline))
    return [*found, Section("All results", table=every_row, folded=True)]


def headline(summary: Summary | None, rows: Sequence[Row]) -> str:
    """The finding in a sentence or two."""
    if summary is None:
        return f"{len(rows)} results; no instance was answered by every solver yet."
    best = summary.solvers[0]
    sentence = (
        f"Best: {best.spec}, {_gap_text(best)} to the {summary.gap_to} over "
        f"{len(summary.instances)} instance{'s' * (len(summary.instances) > 1)}, "
        f"{best.seconds_median:.3g} s each (median)."
    )
    if best.paired is None or best.overall.instances == 1:
        return sentence
    verdict = "significant" if _is_significant(best) else "not significant"
    direction = "less" if best.paired.mean <= 0 else "more"
    return (
        f"{sentence} That is {abs(best.paired.mean):.2f} percentage points {direction} than "
        f"{summary.baseline} (p = {best.p_adjusted:.2g}, {verdict})."
    )


def _is_significant(solver: SolverSummary) -> bool:
    """Whether test, interval and mean agree: the test is about most instances, not the mean."""
    paired = solver.paired
    if paired is None or not solver.p_adjusted < 1 - CONFIDENCE:
        return False
    low, high = paired.interval
    return not low <= 0 <= high and (paired.mean < 0) == (paired.better > paired.worse)


def _gap_text(solver: SolverSummary) -> str:
    low, high = solver.overall.interval
    interval = "" if low != low else f" (95 % interval {low:.2f} to {high:.2f})"
    return f"mean gap {solver.overall.gap:.2f} %{interval}"
