"""Properties of plan.graph, over generated inputs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runner.core.task import Standing, Task
from runner.plan.graph import TaskGraph
from tests.support.builders import quick, task
from tests.support.standings import DONE, OPEN, STUCK


@st.composite
def _plans(draw: st.DrawFn) -> list[Task]:
    """Acyclic plans in any file order."""
    count = draw(st.integers(1, 8))
    tasks = [
        task(
            str(n),
            depends_on=tuple(
                map(str, draw(st.sets(st.integers(0, n - 1)) if n else st.just(set())))
            ),
        )
        for n in range(count)
    ]
    return draw(st.permutations(tasks))


@quick
@given(_plans(), st.data())
def test_an_open_task_is_ready_or_blocked_or_waits_for_one_that_may_still_run(
    tasks: list[Task], data: st.DataObject
) -> None:
    graph = TaskGraph(tasks, "p")
    states = {node.id: data.draw(st.sampled_from(Standing)) for node in tasks}
    ready, blocked = set(graph.ready(states)), graph.blocked(states)
    gated = graph.ready(states, Standing.GATED)
    position = {task_id: n for n, task_id in enumerate(graph.order())}
    assert set(position) == {node.id for node in tasks}
    for node in tasks:
        assert all(position[dep] < position[node.id] for dep in node.depends_on)
        is_ready = states[node.id] is OPEN and all(
            states[dep] is DONE for dep in node.depends_on
        )
        assert (node.id in ready) is is_ready
        is_gated = states[node.id] is Standing.GATED and all(
            states[dep] is DONE for dep in node.depends_on
        )
        assert (node.id in gated) is is_gated
        assert not (node.id in ready and node.id in blocked)
        if node.id in blocked:
            assert all(states[reason] is STUCK for reason in blocked[node.id].first)
        if states[node.id] is OPEN and node.id not in ready and node.id not in blocked:
            assert any(
                states[dep].may_run and dep not in blocked for dep in node.depends_on
            )


@quick
@given(_plans())
def test_running_all_ready_tasks_round_after_round_takes_as_many_rounds_as_waves(
    tasks: list[Task],
) -> None:
    graph = TaskGraph(tasks, "p")
    states = {node.id: OPEN for node in tasks}
    for wave in graph.waves():
        assert graph.ready(states) == wave
        states |= dict.fromkeys(wave, DONE)
    assert set(states.values()) == {DONE}
    assert len(graph.critical_path()) == len(graph.waves())
