"""A run sends its trace to a real collector on loopback."""

from __future__ import annotations

import importlib.util
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.ui.job_spans import RunIds
from tests.support.jobs import Jobs
from tests.support.project import Project

KEY = "the-value-of-a-key-0123456789"


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
            {"id": "A", "do": ["print $KEY", "write a: a"]},
            {"id": "B", "depends_on": ["A"], "do": ["write b: b"]},
        ],
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
    assert KEY not in received


def test_the_rounds_of_a_run_on_actions_are_one_trace(
    project: Project, tmp_path: Path
) -> None:
    project.plan(
        [
            {"id": "A", "do": ["print $KEY", "write a: a"]},
            {"id": "B", "depends_on": ["A"], "do": ["write b: b"]},
        ]
    )
    (tmp_path / "actions").mkdir()
    jobs = Jobs(project, tmp_path / "actions", environ={"KEY": KEY})
    jobs.publish()
    log = tmp_path / "collector.log"
    with _collector(log) as endpoint:
        jobs.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
        chosen = jobs.next()
        ended = [chosen, *jobs.tasks(chosen).values(), jobs.merge(chosen)]
        # The next run of the workflow, as job `continue` starts it.
        first, jobs.run_id = jobs.run_id, "4712"
        ended.append(jobs.next(FANIN_STATE=f'{{"run": "{first}", "round": 2}}'))
    assert [job.code for job in ended] == [0] * 4, [job.log for job in ended]
    assert "the trace is incomplete" not in "".join(job.log for job in ended)
    received = log.read_text(errors="replace")
    assert set(re.findall(r"Trace ID\s*: ([0-9a-f]{32})", received)) == {
        f"{RunIds('o/r', first).trace:032x}"
    }
    names = sorted(
        re.findall(r"Name\s*: (fanin run|batch|merge|invoke_agent)", received)
    )
    assert names == ["batch", "batch", "fanin run", "invoke_agent", "merge"]
    assert KEY not in received
