"""`fanin report` after a real run, and of downloaded artifacts."""

from __future__ import annotations

import shutil

from tests.support.project import Project
from tests.support.report_files import data_of, texts_of

_KEY = "s3cret-value-of-a-key"


def test_a_report_has_what_log_diff_and_show_have(project: Project) -> None:
    project.plan(
        [
            {"id": "A", "do": ["print <script>", "write a: a"]},
            {"id": "B", "do": ["write b: b"], "depends_on": ["A"]},
            {"id": "C", "do": ["write c: c"], "verify": "false"},
            {"id": "D", "depends_on": ["C"], "do": [f"print {_KEY}"]},
        ],
        max_attempts=1,
        setup="true",
        setup_env=["KEY"],
    )
    project.run()
    env = {"KEY": _KEY}
    done = project.cli("report", "-o", "../r.html", env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("wrote ../r.html (0.1 MB)")
    assert project.git("status", "--porcelain") == ""
    written = project.root.parent / "r.html"
    report = data_of(written.read_text())
    states = {row["id"]: row["state"] for row in report["tasks"]}
    assert states == {
        "A": "completed",
        "B": "completed",
        "C": "failed",
        "D": "blocked",
    }
    assert dict(report["run"]["facts"])["branch"] == "main"
    first = texts_of(report, "A")
    assert first["log"] == "<script>"
    assert first["diff"].endswith("+++ b/a\n@@ -0,0 +1 @@\n+a")
    assert first["diff_note"].startswith("landed in ")
    failed = texts_of(report, "C")
    assert failed["failures"][0]["message"].startswith("verify is red (exit status 1)")
    assert "+c" in failed["diff"]
    assert texts_of(report, "D")["prompt"] == "print ***"
    assert "<script>" not in written.read_text().split('id="data">')[1].split("<")[0]

    run = next((project.root / ".git/fanin/runs").iterdir()).name
    unknown = project.cli("report", "--run", run[:-1])
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert f"did you mean {run}?" in unknown.stderr

    results = project.root / ".git/fanin/runs" / run / "1"
    artifacts = project.root.parent / "artifacts"
    for folder in ("000", "001"):
        artifact = artifacts / f"fanin-{run}.1-{folder}-a1-r1"
        shutil.copytree(results / folder, artifact)
        shutil.copy(results.parent / "events.jsonl", artifact)
    shutil.copy(results / "manifest.json", artifacts / "manifest.json")
    # As in a clone elsewhere.
    [ref] = project.git("for-each-ref", "--format=%(refname)", "refs/fanin").split()
    project.git("update-ref", "-d", ref)
    shutil.move(project.root / ".git/fanin/runs" / run, project.root.parent / run)
    # What an agent leaves in its artifact is not taken for the manifest of a batch.
    (artifacts / f"fanin-{run}.1-000-a1-r1" / "manifest.json").write_text("{}")
    project.cli("report", str(artifacts), "-o", "../g.html")
    downloaded = data_of((project.root.parent / "g.html").read_text())
    assert [row["state"] for row in downloaded["tasks"]] == [*states.values()]
    assert texts_of(downloaded, "A")["log"] == "<script>"
    assert texts_of(downloaded, "A")["diff_note"].startswith("landed in ")
    assert texts_of(downloaded, "C")["diff_note"] == "attempt 1, failed, not landed"
    assert "+c" in texts_of(downloaded, "C")["diff"]
    assert "+c" in project.cli("diff", "C", "--from", str(artifacts)).stdout
    assert downloaded["run"]["lane_name"] == "job"


def test_without_a_run_there_is_nothing_to_report(project: Project) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}])
    done = project.cli("report")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no run is known on this machine" in done.stderr
    assert not (project.root / "fanin-report.html").exists()
