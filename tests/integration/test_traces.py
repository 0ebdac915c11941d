"""A run sends its trace to a real collector on loopback."""

from __future__ import annotations

import importlib.util
import os
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.ui.job_spans import RunIds
from tests.support.jobs import Jobs
from tests.support.project import AGENT, Project

KEY = "the-value-of-a-key-0123456789"
PRINTING = {
    "command": ["sh", "-c", f'echo "with $KEY"; exec {sys.executable} {AGENT}'],
    "env": ["FAKE_AGENT_LOG", "KEY"],
}
HEADER = "the-key-of-the-collector-0123456789"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextmanager
def _collector(log: Path) -> Iterator[str]:
    """A collector that writes the spans that it gets to the log; its address."""
    spec = importlib.util.find_spec("rotel")
    assert spec is not None
    assert spec.origin is not None
    program = Path(spec.origin).with_name("rotel-agent")
    http, grpc = _free_port(), _free_port()
    command = [
        str(program),
        "start",
        f"--otlp-http-endpoint=127.0.0.1:{http}",
        f"--otlp-grpc-endpoint=127.0.0.1:{grpc}",
        "--exporter=blackhole",
        "--debug-log=traces",
        "--debug-log-verbosity=detailed",
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            for _ in range(200):
                with socket.socket() as client:
                    if client.connect_ex(("127.0.0.1", http)) == 0:
                        break
                time.sleep(0.05)
            yield f"http://127.0.0.1:{http}"
        finally:
            process.terminate()
            process.wait()


def test_a_collector_gets_the_trace_of_a_run_without_secrets(
    project: Project, tmp_path: Path
) -> None:
    project.plan(
        [
            {"id": "A", "do": ["write a: a"]},
            {"id": "B", "depends_on": ["A"], "do": ["write b: b"]},
        ],
        agent=PRINTING,
        verify="true",
    )
    log = tmp_path / "collector.log"
    with _collector(log) as endpoint:
        environ = {
            **os.environ,
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "true",
            "TRACEPARENT": f"00-{'5' * 32}-{'7' * 16}-01",
            "KEY": KEY,
        }
        done = subprocess.run(
            [sys.executable, "-m", "runner", "run"],
            cwd=project.root,
            env=environ,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in done.stderr
    received = log.read_text(errors="replace")
    assert len(re.findall(r"fanin run", received)) == 1
    assert len(re.findall(r"gen_ai\.operation\.name", received)) == 2
    assert "5" * 32 in received
    assert received.count("with ***") == 2
    assert KEY not in received


def test_three_rounds_of_a_run_on_actions_are_one_trace(
    project: Project, tmp_path: Path
) -> None:
    project.plan(
        [
            {"id": "A", "do": ["write a: a"]},
            {"id": "B", "depends_on": ["A"], "do": ["write b: b"]},
            {"id": "C", "depends_on": ["B"], "do": ["write c: c"]},
        ],
        agent=PRINTING,
        verify="test -f a && echo $OTEL_EXPORTER_OTLP_HEADERS",
    )
    (tmp_path / "actions").mkdir()
    jobs = Jobs(
        project, tmp_path / "actions", environ={"FANIN_AGENT_ENV": f"KEY={KEY}"}
    )
    jobs.publish()
    log = tmp_path / "collector.log"
    with _collector(log) as endpoint:
        sending = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_EXPORTER_OTLP_HEADERS": f"x-key={HEADER}",
            "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "true",
        }
        first, ended = jobs.run_id, []
        chosen = jobs.next(**sending)
        for batch in (1, 2, 3):
            # The second round is in the same run of the workflow, the third in the next.
            ended += [chosen, *jobs.tasks(chosen).values()]
            verdict = tmp_path / f"verdict-{batch}" / "verdict.json"
            events = {"FANIN_EVENTS": str(verdict.with_name("events.jsonl"))}
            ended.append(jobs.verify(chosen, verdict, **events))
            merged = jobs.merge(
                chosen,
                FANIN_VERDICT=str(verdict),
                FANIN_LATER_ROUNDS="1" if batch == 1 else "0",
                **sending,
            )
            ended.append(merged)
            if batch == 1:
                chosen = jobs.as_chosen(merged)
            elif batch == 2:
                jobs.run_id = "4712"
                chosen = jobs.next(FANIN_STATE=merged.outputs["state"], **sending)
    assert {job.code for job in ended} == {0}, [job.log for job in ended]
    assert "the trace is incomplete" not in "".join(job.log for job in ended)
    received = log.read_text(errors="replace")
    assert set(re.findall(r"Trace ID\s*: ([0-9a-f]{32})", received)) == {
        f"{RunIds('o/r', first).trace:032x}"
    }
    names = re.findall(
        r"Name\s*: (fanin run|batch|merge|invoke_agent|verify)", received
    )
    assert Counter(names) == Counter(
        {"fanin run": 1, "batch": 3, "invoke_agent": 3, "verify": 3, "merge": 3}
    )
    assert received.count("with ***") == 3
    assert KEY not in received
    assert HEADER not in received + "".join(job.log for job in ended)
