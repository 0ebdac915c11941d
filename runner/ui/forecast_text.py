"""What `fanin simulate` prints: a table of simulated runs within 80 columns."""

from __future__ import annotations

from collections.abc import Sequence

from runner.core.documents import clean
from runner.core.forecast import DurationSources, Forecast, ForecastRow, Knee
from runner.core.plurals import pluralize
from runner.core.rough_time import rough_change, rough_time

_WIDTH = 80
_NAMES = {"batch": "batch", "rolling": "rolling", "actions": "GitHub Actions"}


def forecast_text(forecast: Forecast) -> str:
    """The whole output, without a line end at its end."""
    tasks = pluralize(forecast.tasks, "task")
    one_by_one = f"{rough_time(forecast.seconds)} one after the other"
    lines = [
        f"{forecast.plan}: {tasks} to run, {one_by_one}",
        *_sources_lines(forecast.durations),
        _chain_line(forecast),
        _cost_line(forecast),
        "",
        *_table(forecast),
        "",
    ]
    if forecast.most_useful is not None:
        lines.append(f"more agents than {forecast.most_useful} change nothing")
    lines += [_knee_line(knee) for knee in forecast.knees]
    lines += _rolling_line(forecast)
    lines += [f"note: {note}" for note in forecast.notes]
    return "\n".join(clean(line) for line in lines)


def _sources_lines(sources: DurationSources) -> list[str]:
    parts = []
    if sources.recorded:
        parts.append(f"{sources.recorded} recorded")
    if sources.estimated:
        parts.append(f"{sources.estimated} estimated in the plan")
    if sources.guessed:
        parts.append(f"{sources.guessed} guessed at {rough_time(sources.guess)} each")
    lines = [f"durations: {', '.join(parts)}"]
    if sources.guessed and sources.guess_from == "median":
        lines.append("the guess is the median of what is recorded; --guess sets it")
    elif sources.guessed and sources.guess_from == "assumption":
        lines.append("the guess goes by nothing that is recorded; --guess sets it")
    return lines


def _chain_line(forecast: Forecast) -> str:
    chain = forecast.longest_chain
    line = f"longest chain: {rough_time(chain.seconds)}: {chain.tasks[0]}"
    for number, name in enumerate(chain.tasks[1:], 1):
        more = f" → … {len(chain.tasks) - number} more"
        if len(f"{line} → {name}{more}") > _WIDTH:
            return line + more
        line += f" → {name}"
    return line


def _cost_line(forecast: Forecast) -> str:
    limit = forecast.max_cost_usd
    if forecast.cost_usd is None:
        return "cost: unknown, no finished task has reported one"
    line = f"cost: about ${forecast.cost_usd:.2f} with any number of agents"
    if limit is not None and forecast.cost_usd > limit:
        line += f"; limits.max_cost_usd stops at ${limit:.2f}"
    return line


def _table(forecast: Forecast) -> list[str]:
    titles = ["agents", "batch", "batches", "idle", "rolling", "idle"]
    if forecast.job_start is not None:
        titles += ["Actions", "job starts"]
    rows = [titles, *(_cells(row, forecast) for row in forecast.rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(_aligned(row, widths)).rstrip() for row in rows]


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]


def _cells(row: ForecastRow, forecast: Forecast) -> list[str]:
    mark = "→ " if row.max_concurrent == forecast.max_concurrent else ""
    cells = [
        f"{mark}{row.max_concurrent}",
        rough_time(row.batch.seconds),
        str(row.batch.batches),
        f"{row.batch.idle:.0%}",
        rough_time(row.rolling.seconds),
        f"{row.rolling.idle:.0%}",
    ]
    if row.actions is not None:
        cells += [rough_time(row.actions.seconds), str(row.actions.job_starts)]
    return cells


def _knee_line(knee: Knee) -> str:
    name = _NAMES[knee.schedule]
    agents, now = knee.max_concurrent, knee.now
    change = rough_change(knee.seconds_now, knee.seconds)
    if agents > now:
        return f"{name}: {agents} instead of {now}: {change}"
    if agents < now:
        verb = "is" if agents == 1 else "are"
        return f"{name}: {agents} {verb} enough instead of {now}: {change}"
    return f"{name}: {now} at once, as it is, is where more gains little"


def _rolling_line(forecast: Forecast) -> list[str]:
    """What the rolling schedule would gain at the number of agents of the settings."""
    if forecast.schedule != "batch":
        return []
    for row in forecast.rows:
        if row.max_concurrent != forecast.max_concurrent:
            continue
        before, after = row.batch.seconds, row.rolling.seconds
        if after < before:
            change = rough_change(before, after)
            return [f"--schedule rolling at {row.max_concurrent}: {change}"]
    return []
