"""Values that a job writes cannot end, fake or exceed GitHub's formats."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from runner.actions import workflow_io
from runner.actions.workflow_io import MAX_ANNOTATIONS, Annotation, JobIO
from runner.core.errors import EnvironmentBroken, UsageProblem


@pytest.mark.parametrize(
    ("message", "properties", "line"),
    [
        ("plain", {}, "::error::plain"),
        ("two\nlines %0A", {}, "::error::two%0Alines %250A"),
        ("m", {"file": "a,b:c.yml", "line": 3}, "::error file=a%2Cb%3Ac.yml,line=3::m"),
        ("m", {"title": "x::y\r\n"}, "::error title=x%3A%3Ay%0D%0A::m"),
        ("m", {"line": None}, "::error::m"),
    ],
)
def test_a_command_is_one_line_for_any_message(
    message: str, properties: dict[str, str | int | None], line: str
) -> None:
    assert workflow_io.command("error", message, **properties) == line


def test_an_output_cannot_set_another_one(tmp_path: Path) -> None:
    file = tmp_path / "output"
    JobIO({"GITHUB_OUTPUT": str(file)}, io.StringIO()).output(
        {"a": "1\nEOF\nb=2\nb<<EOF\n2\nEOF", "c": ""}
    )
    text = file.read_text()
    outputs = re.findall(r"^([\w-]+)<<(\S+)\n(.*?)\n\2$", text, re.M | re.S)
    assert [(name, value) for name, _, value in outputs] == [
        ("a", "1\nEOF\nb=2\nb<<EOF\n2\nEOF"),
        ("c", ""),
    ]
    assert len({delimiter for _, delimiter, _ in outputs}) == 2


def test_outputs_above_the_limit_are_refused_and_not_written(
    tmp_path: Path,
) -> None:
    file = tmp_path / "output"
    with pytest.raises(EnvironmentBroken, match="it accepts 1,000,000"):
        JobIO({"GITHUB_OUTPUT": str(file)}, io.StringIO()).output({"a": "x" * 500_000})
    assert not file.exists()


@pytest.mark.parametrize(
    ("character", "size"), [("x", 2), ("ü", 2), ("漢", 2), ("😀", 4)]
)
def test_outputs_are_counted_in_utf_16_over_the_whole_job(
    tmp_path: Path, character: str, size: int
) -> None:
    file = tmp_path / "output"
    job_io = JobIO({"GITHUB_OUTPUT": str(file)}, io.StringIO())
    count = (workflow_io.OUTPUT_LIMIT - 4) // size
    job_io.output({"a": character * (count // 2)})
    job_io.output({"b": character * (count // 2)})
    written = file.read_bytes()
    with pytest.raises(EnvironmentBroken, match="lower max-concurrent"):
        job_io.output({"c": character * 3})
    assert file.read_bytes() == written


def test_a_summary_is_truncated_to_githubs_limit(tmp_path: Path) -> None:
    file = tmp_path / "summary"
    JobIO({"GITHUB_STEP_SUMMARY": str(file)}, io.StringIO()).summary(
        "ü" * 80 + "\n" + "line\n" * 400_000
    )
    assert file.stat().st_size <= workflow_io.SUMMARY_LIMIT
    assert file.read_text().endswith("truncated to GitHub's limit.\n")


def test_a_fence_ends_when_its_block_raises() -> None:
    stream = io.StringIO()

    def fail_inside() -> None:
        with JobIO({}, stream).fenced("agent"):
            stream.write("::set-env name=x::y\n")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_inside()
    lines = stream.getvalue().split("\n")
    token = lines[1].removeprefix("::stop-commands::")
    assert len(token) >= 32
    assert f"::{token}::" in lines[2:]
    assert lines[-2] == "::endgroup::"


def test_every_line_of_a_secret_is_masked() -> None:
    stream = io.StringIO()
    JobIO({}, stream).mask("one\n\ntwo%")
    assert stream.getvalue() == "::add-mask::one\n::add-mask::two%25\n"


def test_outside_of_actions_there_is_no_context() -> None:
    with pytest.raises(UsageProblem, match="inside GitHub Actions only"):
        workflow_io.read_context({})


@pytest.mark.parametrize(
    ("reference", "file"),
    [("o/r/.github/workflows/fanin.yml@refs/heads/x/y", "fanin.yml"), ("", "")],
)
def test_the_callers_workflow_file_is_read_from_its_reference(
    reference: str, file: str
) -> None:
    context = workflow_io.read_context(
        {
            "GITHUB_RUN_ID": "1",
            "GITHUB_WORKFLOW_REF": reference,
            "FANIN_TOKEN": "s3cret",
        }
    )
    assert context.workflow_file == file
    assert "s3cret" not in repr(context)


@pytest.mark.parametrize(
    ("job_id", "ids"),
    [("1001", "77/1001"), ("", None), ("1/../2", None), ("-1", None)],
)
def test_the_ids_of_run_and_job_are_known_where_github_gives_the_jobs(
    job_id: str, ids: str | None
) -> None:
    context = workflow_io.read_context({"GITHUB_RUN_ID": "77", "FANIN_JOB_ID": job_id})
    assert context.job_ids == ids


def test_an_annotation_is_no_command_to_github() -> None:
    stream = io.StringIO()
    JobIO({}, stream).annotate("error", "closes #3\n@name [skip ci]", title="#1: @x")
    assert stream.getvalue() == (
        "::error title=no. 1%3A x::closes no. 3%0Aname (skip ci)\n"
    )


@pytest.mark.parametrize("before", [0, 3])
def test_at_most_ten_annotations_a_step_and_the_last_says_how_many_more(
    before: int,
) -> None:
    stream = io.StringIO()
    job_io = JobIO({}, stream)
    for _ in range(before):
        job_io.annotate("notice", "earlier")
    messages = [f"problem {number}" for number in range(30)]
    job_io.annotate_all([Annotation("error", text) for text in messages])
    lines = stream.getvalue().splitlines()
    annotations = [line for line in lines if line.startswith("::")]
    assert len(annotations) <= MAX_ANNOTATIONS
    shown = [line for line in annotations if "problem" in line]
    assert annotations[-1].endswith(f"::and {30 - len(shown)} more, in this step's log")
    assert all(any(text in line for line in lines) for text in messages)


def test_no_text_of_an_annotation_in_the_log_is_a_command() -> None:
    stream = io.StringIO()
    hostile = [Annotation("error", "x\n::add-mask::y", title="t\n::z::")] * 30
    JobIO({}, stream).annotate_all(hostile)
    commands = [line for line in stream.getvalue().splitlines() if line[:2] == "::"]
    assert all(line.startswith("::error ") for line in commands)


def test_a_few_annotations_are_all_there() -> None:
    stream = io.StringIO()
    JobIO({}, stream).annotate_all([Annotation("error", "x")] * 8)
    assert stream.getvalue() == "::error::x\n" * 8
