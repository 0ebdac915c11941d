"""The task graphs that every scheduler is given, and what no schedule of them can beat.

a: the six tasks of the first example. b: six layers of ten with heavy-tailed durations.
c: a hundred alone. d: a chain of thirty. e: six waves of five short tasks and a
straggler, where a barrier waits for every straggler.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from heapq import heapify, heappop, heappush


@dataclass(frozen=True)
class Job:
    needs: tuple[str, ...]
    seconds: float


Graph = dict[str, Job]


def a() -> Graph:
    return {
        "T1": Job((), 0.3),
        "T2": Job(("T1",), 0.2),
        "T3": Job(("T2",), 0.3),
        "T4": Job(("T2",), 0.3),
        "T5": Job(("T1",), 0.6),
        "T6": Job(("T3", "T4", "T5"), 0.2),
    }


def b(layers: int = 6, width: int = 10, seed: int = 7) -> Graph:
    drawn, graph, rows = random.Random(seed), Graph(), list[list[str]]()
    for _ in range(layers):
        row = []
        for _ in range(width):
            seconds = round(min(0.8, 0.02 * drawn.paretovariate(0.75)), 3)
            needs = sorted(drawn.sample(rows[-1], drawn.randint(1, 3))) if rows else []
            if len(rows) > 1 and drawn.random() < 0.3:
                needs.append(drawn.choice(rows[-2]))
            name = f"b{len(graph)}"
            graph[name] = Job(tuple(needs), seconds)
            row.append(name)
        rows.append(row)
    return graph


def c(count: int = 100) -> Graph:
    return {f"c{place}": Job((), 0.05) for place in range(count)}


def d(count: int = 30) -> Graph:
    return {
        f"d{place}": Job((f"d{place - 1}",) if place else (), 0.02)
        for place in range(count)
    }


def e(waves: int = 6) -> Graph:
    graph = Graph()
    for wave in range(waves):
        needs = (f"e{wave - 1}s0",) if wave else ()
        graph |= {f"e{wave}s{place}": Job(needs, 0.05) for place in range(5)}
        graph[f"e{wave}L"] = Job(needs, 0.5)
    return graph


GRAPHS: dict[str, Callable[[], Graph]] = {"a": a, "b": b, "c": c, "d": d, "e": e}


def lower_bound(graph: Graph, slots: int) -> float:
    """Seconds that no schedule can beat: the longest chain, or all work spread evenly
    over the slots.
    """
    longest: dict[str, float] = {}
    for name, job in graph.items():  # needs stand before the jobs that need them
        longest[name] = job.seconds + max(
            (longest[need] for need in job.needs), default=0.0
        )
    return max(
        max(longest.values()), sum(job.seconds for job in graph.values()) / slots
    )


def ideal(graph: Graph, slots: int, ranks: Mapping[str, tuple[float, ...]]) -> float:
    """Seconds that a schedule takes if only jobs took time: of the ready ones the
    smallest rank starts.
    """
    after: dict[str, list[str]] = {name: [] for name in graph}
    for name, job in graph.items():
        for need in job.needs:
            after[need].append(name)
    place = {name: number for number, name in enumerate(graph)}
    waits = {name: len(job.needs) for name, job in graph.items()}
    ready = [
        (ranks.get(name, ()), place[name], name)
        for name, count in waits.items()
        if not count
    ]
    heapify(ready)
    running: list[tuple[float, int, str]] = []
    now, queued = 0.0, len(graph)
    while ready or running:
        while ready and len(running) < slots:
            name = heappop(ready)[-1]
            heappush(running, (now + graph[name].seconds, place[name], name))
        now, _, ended = heappop(running)
        for name in sorted(after[ended], key=place.__getitem__):
            waits[name] -= 1
            queued += 1  # without ranks: first in, first out
            if not waits[name]:
                heappush(ready, (ranks.get(name, ()), queued, name))
    return now


def faults(
    graph: Graph, slots: int, events: Iterable[tuple[int, str, str]]
) -> list[str]:
    """What is wrong with a run: (time, `s` or `e`, job) of every start and end."""
    ended: set[str] = set()
    started: list[str] = []
    running, found = 0, list[str]()
    for _, what, name in sorted(events):
        if what == "e":
            running -= 1
            ended.add(name)
            continue
        running += 1
        started.append(name)
        if early := set(graph[name].needs) - ended:
            found.append(f"{name} started before {sorted(early)} ended")
        if running > slots:
            found.append(f"{running} ran at once, {slots} were allowed")
    if sorted(started) != sorted(graph):
        found.append(f"{len(started)} jobs ran, {len(graph)} were asked for")
    return found
