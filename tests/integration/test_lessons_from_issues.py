"""What users of today's tools lost, thread by thread; each test bears the name of a
public thread it answers.

Short tests that show the behaviour once more under that name; the details are tested
where the behaviour belongs.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from runner.config import settings
from runner.core.errors import InvalidInput
from tests.integration.test_landing import Meanwhile
from tests.support.crashes import ROOT
from tests.support.jobs import Jobs
from tests.support.project import Project, Quiet, most_at_once

WORKFLOWS = ROOT / ".github" / "workflows"
WORKFLOW = yaml.safe_load((WORKFLOWS / "fanin.yml").read_text())
ROUND = yaml.safe_load((WORKFLOWS / "round.yml").read_text())
# The jobs of a run that do something; the others of fanin.yml call round.yml.
JOBS = {name: job for name, job in WORKFLOW["jobs"].items() if "steps" in job}
JOBS |= ROUND["jobs"]
LINES = "".join(f"line {number}\n" for number in range(20))


@pytest.fixture
def jobs(project: Project, tmp_path: Path) -> Jobs:
    (tmp_path / "actions").mkdir()
    return Jobs(project, tmp_path / "actions")


def start(jobs: Jobs, *does: str) -> None:
    jobs.project.plan(
        [{"id": name, "do": [do]} for name, do in zip("ABCD", does, strict=False)]
    )
    jobs.publish()


def push_a_rival(jobs: Jobs, path: str = "rival", text: str = "rival\n") -> None:
    jobs.project.git("pull", "-q", str(jobs.origin), "main")
    jobs.project.write(path, text)
    jobs.project.commit(f"rival {path}")
    jobs.project.git("push", "-q", str(jobs.origin), "main")


# 1. The base moved while agents ran


def test_gh_aw_18991_base_moved_while_agents_ran(jobs: Jobs) -> None:
    start(jobs, "write a: a", "write b: b", "write c: c", "write d: d")
    chosen = jobs.next()
    push_a_rival(jobs)
    jobs.tasks(chosen)
    push_a_rival(jobs, "another")
    assert jobs.merge(chosen).code == 0
    assert {"a", "b", "c", "rival", "another"} <= set(
        jobs.git("ls-tree", "--name-only", "main").splitlines()
    )


@pytest.mark.parametrize(
    "thread", ["gh_aw_24110", "gh_aw_30286", "gh_aw_28955", "gh_aw_34108"]
)
def test_gh_aw_24110_30286_28955_34108_merge_commits_of_an_agent_lose_nothing(
    project: Project, thread: str
) -> None:
    """The tree counts, not the commits: a resolution inside a merge commit is not
    dropped, no foreign commit enters.
    """
    project.write("f", LINES)
    steps = [
        "git checkout -q -b side", "replace f: line 3 -> side three", "commit side", "git checkout -q -",
        "replace f: line 3 -> main three", "commit main", "git merge -q -s ours side",
        "replace f: main three -> resolved three", "commit resolved",
    ]  # fmt: skip
    project.plan([{"id": "A", "do": steps}])
    project.run()
    assert "resolved three" in project.git("show", "HEAD:f")
    assert project.subjects() == ["A: do A", "plan", "start"]


def test_superlog_110_patches_are_merged_with_three_trees(project: Project) -> None:
    project.write("f", LINES)
    project.plan([{"id": "A", "do": ["sleep 0.3", "replace f: line 18 -> eighteen"]}])

    def meanwhile() -> None:
        # every line of the patch's context moves
        project.write("f", "a new first line\n" + LINES)
        project.commit("by a person")

    project.run(Meanwhile(meanwhile))
    assert project.states() == {"A": "completed"}
    assert {"a new first line", "eighteen"} <= set(
        project.git("show", "HEAD:f").splitlines()
    )


def test_copilot_cli_for_beginners_174_178_what_cannot_be_applied_can_be_had_back_with_one_command(
    project: Project,
) -> None:
    project.write("f", "one\n")
    project.plan(
        [{"id": t, "do": [f"replace f: one -> {t}"], "max_attempts": 1} for t in "AB"],
        retry_from="base",
    )
    seen = Quiet()
    project.run(seen)
    assert project.git("show", f"{seen.fan_ins[0].kept['B']}:f") == "B"


# 2. Conflicts between agents that work side by side


def test_overstory_84_no_side_of_a_conflict_is_dropped_silently(
    project: Project,
) -> None:
    project.write("f", "one\n")
    project.plan(
        [{"id": t, "do": [f"replace f: one -> {t}"], "max_attempts": 1} for t in "AB"],
        retry_from="base",
    )
    seen = Quiet()
    project.run(seen)
    # The attempt that B gets in exchange for its conflict finds nothing to replace.
    assert project.states() == {"A": "completed", "B": "failed"}
    assert "conflict with A in f" in seen.fan_ins[0].failed["B"].message
    assert "kept" in project.git("for-each-ref", "refs/fanin")


def test_agtx_25_koda_376_crosslink_346_ai_fleet_8_overlap_is_told_before_the_run_and_order_is_the_plans(
    project: Project,
) -> None:
    project.plan(
        [{"id": t, "files": ["src/**"], "do": [f"write src/{t}: x"]} for t in "BA"]
    )
    assert (
        "B and A overlap in files and never share a batch"
        in project.cli("check").stdout
    )
    seen = Quiet()
    project.run(seen)
    assert seen.batches == [["B"], ["A"]]


def test_parallel_code_86_conflicts_come_one_task_at_a_time_with_the_rest_landed(
    project: Project,
) -> None:
    project.write("f", "one\n")
    project.plan([{"id": t, "do": [f"replace f: one -> {t}"], "max_attempts": 1} for t in "ABC"]
                 + [{"id": "D", "do": ["write d: d"]}], max_concurrent=4, retry_from="base")  # fmt: skip
    project.run()
    assert project.states() == {
        "A": "completed",
        "B": "failed",
        "C": "failed",
        "D": "completed",
    }


def test_minnow_970_sendsprint_46_crucible_164_cmux_3323_overlapping_files_never_run_at_once(
    project: Project,
) -> None:
    project.plan(
        [
            {"id": t, "files": ["same"], "do": ["sleep 0.2", f"write same: {t}"]}
            for t in "ABC"
        ]
    )
    project.run()
    assert most_at_once(project.intervals()) == 1


def test_tabby_4449_dmux_44_changes_near_each_other_that_git_can_merge_are_merged(
    project: Project,
) -> None:
    project.write("f", LINES)
    project.plan(
        [
            {"id": "A", "do": ["replace f: line 3 -> three"]},
            {"id": "B", "do": ["replace f: line 9 -> nine"]},
        ]
    )
    project.run()
    assert project.states() == {"A": "completed", "B": "completed"}
    assert {"three", "nine"} <= set(project.git("show", "HEAD:f").splitlines())


def test_aiox_core_42_waves_are_shown_before_anything_runs(project: Project) -> None:
    project.plan([{"id": "A"}, {"id": "B"}, {"id": "C", "depends_on": ["A", "B"]}])
    shown = project.cli("check", "--parallel").stdout
    assert "the graph allows 2 batches, at most 2 tasks side by side" in shown
    assert "a run makes 2 batches of at most 3 tasks:\n  1. A, B\n  2. C\n" in shown
    # what a run makes with fewer agents, and not only what the graph allows
    shown = project.cli("check", "--sequential").stdout
    assert "a run makes 3 batches of at most 1 task:\n  1. A\n" in shown
    report = json.loads(project.cli("check", "--json", "--sequential").stdout)
    assert report["batches"] == [["A", "B"], ["C"]]
    assert report["scheduled_batches"] == [["A"], ["B"], ["C"]]


# 3. Lost work, and "done" that never landed


def test_gastown_2028_342_3203_gascity_1445_only_the_fan_in_completes_a_task(
    jobs: Jobs,
) -> None:
    start(jobs, "write a: a", "write b: b")
    chosen = jobs.next()
    jobs.tasks(chosen)
    assert jobs.git("ls-tree", "-r", "--name-only", "main").count("progress.json") == 0
    jobs.merge(chosen)
    assert jobs.states() == {"A": "completed", "B": "completed"}
    assert {"a", "b"} <= set(jobs.git("ls-tree", "--name-only", "main").splitlines())


@pytest.mark.parametrize("do", [["write a: a", "commit work"], ["write a: a"]])
def test_claude_code_action_262_commits_never_pushed_are_not_lost(
    project: Project, do: list[str]
) -> None:
    project.plan([{"id": "A", "do": do}])
    project.run()
    assert project.git("show", "HEAD:a") == "a"


@pytest.mark.parametrize("branch", ["new", "deeply/nested/new"])
def test_claude_code_action_1645_250_branch_that_does_not_exist_is_made(
    project: Project, branch: str
) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}])
    project.run(branch=branch)
    assert project.git("show", f"{branch}:a") == "a"


def test_claude_code_38287_cleaning_up_deletes_no_unmerged_work(
    project: Project,
) -> None:
    project.plan(
        [
            {
                "id": "A",
                "max_attempts": 1,
                "do": ["write a: a", "commit a", "fail at the end"],
            }
        ]
    )
    seen = Quiet()
    project.run(seen)
    assert project.states() == {"A": "failed"}
    assert project.git("show", f"{seen.fan_ins[0].kept['A']}:a") == "a"


def test_paperclip_9460_no_run_sweeps_anothers_staged_files(project: Project) -> None:
    project.plan([{"id": "A", "do": ["sleep 0.3", "write a: a"]}])

    def stage() -> None:
        project.write("staged", "mine\n")
        project.git("add", "staged")

    project.run(Meanwhile(stage), branch="side")
    assert "staged" not in project.git("ls-tree", "--name-only", "side").splitlines()
    assert project.git("diff", "--cached", "--name-only") == "staged"


def test_multica_7426_names_of_workspaces_never_collide(project: Project) -> None:
    project.plan([{"id": t, "do": [f"write out-{n}: x"]} for n, t in enumerate(["a/b", "a:b", "a b", "A/B"])],
                 max_concurrent=4)  # fmt: skip
    project.run()
    assert set(project.states().values()) == {"completed"}


def test_mnemosyne_1728_each_agent_has_a_branch_of_its_own(project: Project) -> None:
    project.plan([{"id": t, "do": [f"write {t}: {t}", "commit mine"]} for t in "ABC"])
    project.run()
    assert (
        project.git("for-each-ref", "--format=%(refname)", "refs/heads")
        == "refs/heads/main"
    )
    assert project.subjects()[:2] == ["Fan in A, B, C", "plan"]


# 4. Push races in matrix jobs


@pytest.mark.parametrize("moves", [1, 2])
def test_flat_9_git_auto_commit_action_170_github_push_action_61_actions_gh_pages_1078_commit_5_push_is_tried_again(
    jobs: Jobs, moves: int
) -> None:
    start(jobs, "write a: a", "write b: b")
    chosen = jobs.next()
    jobs.tasks(chosen)
    for number in range(moves):
        push_a_rival(jobs, f"rival{number}")
    assert jobs.merge(chosen).code == 0
    assert jobs.git("log", "--format=%s", "main").splitlines()[: moves + 1] == [
        "Fan in A, B",
        *(f"rival rival{number}" for number in reversed(range(moves))),
    ]


def test_kairos_4537_nobody_force_pushes_and_nobody_cancels_a_sibling(
    jobs: Jobs,
) -> None:
    start(jobs, "write a: a", "fail always")
    chosen = jobs.next()
    # a red leg would look like a broken job
    assert {leg.code for leg in jobs.tasks(chosen).values()} == {0}
    jobs.merge(chosen)
    assert jobs.states()["A"] == "completed"
    assert JOBS["task"]["strategy"]["fail-fast"] is False


def test_nebius_solutions_library_255_one_writer_so_legs_may_run_side_by_side() -> None:
    writers = [
        name
        for name, job in JOBS.items()
        if job.get("permissions", {}).get("contents") == "write"
    ]
    assert set(writers) == {"merge", "merge-again"}
    assert "max-parallel" in JOBS["task"]["strategy"]


# 5. Re-runs


def test_meshweaver_4303_upload_artifact_526_658_the_newest_run_attempt_counts_not_the_artifacts_order(
    jobs: Jobs,
) -> None:
    start(jobs, "fail until 9", "write b: b")
    chosen = jobs.next()
    jobs.tasks(chosen)
    jobs.run_attempt = 2
    old = next(jobs.artifacts.glob("*-000-*-r1"))
    told = json.loads((old / "result.json").read_text())
    assert told["run_attempt"] == 1
    jobs.task(chosen, "A")
    assert {
        path.name.rpartition("-")[2] for path in jobs.artifacts.glob("*-000-*")
    } == {"r1", "r2"}
    jobs.merge(chosen)
    assert jobs.states()["B"] == "completed"


def test_graphite_101_results_of_jobs_that_passed_are_still_there_after_a_rerun(
    jobs: Jobs,
) -> None:
    start(jobs, "write a: a", "write b: b")
    chosen = jobs.next()
    jobs.task(chosen, "A")
    jobs.run_attempt = 2
    jobs.task(chosen, "B")
    assert jobs.merge(chosen).code == 0
    assert jobs.states() == {"A": "completed", "B": "completed"}


def test_meshlib_6474_econml_882_artifacts_of_all_run_attempts_are_asked_for() -> None:
    steps = JOBS["merge"]["steps"]
    results = next(step for step in steps if "pattern" in step.get("with", {}))["with"]
    assert results["pattern"].endswith("-*-a*-r*")
    # Those that a re-run does not see without a token.
    action = yaml.safe_load((ROOT / ".github/actions/fanin/action.yml").read_text())
    asked = [step["with"] for step in action["runs"]["steps"] if "with" in step]
    tokens = [given for given in asked if "artifact-ids" in given]
    assert tokens
    assert {given["run-id"] for given in tokens} == {"${{ github.run_id }}"}


def test_upload_artifact_478_493_every_upload_has_a_name_of_its_own(
    jobs: Jobs,
) -> None:
    uploads = [
        (name, step["with"]["name"])
        for name, job in JOBS.items()
        for step in job.get("steps", [])
        if step.get("uses", "").startswith("actions/upload-artifact")
    ]
    named_by_fanin = [name for _, name in uploads if "manifest-artifact" in name]
    named_here = [name for _, name in uploads if name not in named_by_fanin]
    assert len(named_here) >= 2
    assert all(name.endswith("-r${{ github.run_attempt }}") for name in named_here)
    start(jobs, "write a: a")
    assert jobs.next().outputs["manifest-artifact"].endswith("-r1")


def test_git_auto_commit_action_155_sendmux_236_a_rerun_builds_on_the_branch_as_it_is(
    jobs: Jobs,
) -> None:
    start(jobs, "write a: a", "write b: b")
    chosen = jobs.next()
    jobs.tasks(chosen)
    assert jobs.merge(chosen).code == 0
    push_a_rival(jobs)
    jobs.run_attempt = 2
    assert jobs.merge(chosen).code == 0
    assert jobs.git("log", "-1", "--format=%s", "main") == "rival rival"


def test_tiledb_soma_3820_side_effects_happen_once_however_often_the_job_runs(
    jobs: Jobs,
) -> None:
    start(jobs, "write a: a", "write b: b")
    chosen = jobs.next()
    jobs.tasks(chosen)
    for _ in range(3):
        jobs.merge(chosen)
    assert jobs.git("log", "--format=%s", "main").splitlines().count("Fan in A, B") == 1


# 6. and 7. What GitHub's token may not do


def test_claude_code_action_319_gyrinx_1689_docs_19068_worktrunk_491_otelbin_584_dispatch_starts_workflows() -> (
    None
):
    assert "trigger-workflows" in WORKFLOW[True]["workflow_call"]["inputs"]
    for job in JOBS.values():
        for step in job.get("steps", []):
            if step.get("uses", "").startswith("actions/checkout"):
                # no step after it may read a token
                assert step["with"]["persist-credentials"] is False


def test_course_video_manager_820_fullsend_470_molecule_core_970_git_auto_commit_action_322_workflow_files_are_refused_first(
    jobs: Jobs,
) -> None:
    jobs.project.plan(
        [{"id": "A", "do": ["write x: x"], "allow": [".github/workflows/**"]}]
    )
    jobs.publish()
    chosen = jobs.next()
    assert chosen.code == 2
    assert "fanin-token" in chosen.log
    assert jobs.next(FANIN_MAY_CHANGE_WORKFLOWS="true").code == 0


# 8. Limits


def test_gradbench_577_teamsfx_16466_cryfs_543_never_more_than_256_entries(
    jobs: Jobs,
) -> None:
    jobs.project.plan(
        [{"id": f"T{number}"} for number in range(270)], max_concurrent=256
    )
    jobs.publish()
    assert len(jobs.matrix(jobs.next())) == 256


def test_osv_scanner_action_129_graalvm_7485_airbyte_76355_prompts_are_in_no_output_and_no_variable(
    jobs: Jobs,
) -> None:
    jobs.project.plan(
        [{"id": f"T{number}", "do": ["x" * 20_000]} for number in range(60)],
        max_concurrent=60,
    )
    jobs.publish()
    chosen = jobs.next()
    assert sum(map(len, chosen.outputs.values())) < 20_000
    assert (jobs.folder / "manifest.json").stat().st_size > 1_000_000


def test_upload_artifact_307_59_aisix_29_intent_1163_gsd_core_2439_artifacts_are_small_and_short_lived(
    jobs: Jobs,
) -> None:
    jobs.project.write("big", "x" * 3_000_000)
    start(jobs, "write a: a", "write b: b")
    jobs.tasks(jobs.next())
    assert (
        sum(path.stat().st_size for path in jobs.artifacts.rglob("*") if path.is_file())
        < 50_000
    )
    uploads = [
        s
        for j in JOBS.values()
        for s in j.get("steps", [])
        if "upload-artifact" in s.get("uses", "")
    ]
    assert all(step["with"]["retention-days"] <= 7 for step in uploads)


def test_runner_2227_godot_agent_85_comfyui_frontend_17881_a_replaced_pending_run_loses_nothing(
    jobs: Jobs,
) -> None:
    """Any later run goes on from the branch: nothing is known to the run that GitHub
    dropped.
    """
    start(jobs, "write a: a", "write b: b")
    chosen = jobs.next()
    jobs.tasks(chosen)
    jobs.merge(chosen)
    jobs.run_id = "4712"
    assert jobs.next().outputs["has-work"] == "false"


# 9. Agents that hang


def test_repolens_108_standard_input_ends_and_a_time_limit_frees_the_slot(
    project: Project,
) -> None:
    script = "cat > /dev/null; echo x > a; exec sleep 3600"
    agent = {"command": ["sh", "-c", script]}
    project.plan(
        [
            {"id": "A", "agent": agent, "timeout": 1, "max_attempts": 1},
            {"id": "B", "do": ["write b: b"]},
        ]
    )
    project.run()
    assert project.records()["A"]["error"]["kind"] == "timeout"
    assert project.states()["B"] == "completed"


def test_claude_code_28482_83859_letta_code_2394_each_attempt_has_its_own_limit(
    project: Project,
) -> None:
    project.plan(
        [{"id": "A", "do": ["fail until 9"], "timeout": 60, "max_attempts": 2}]
    )
    project.run()
    assert project.records()["A"]["attempts"] == 2


def test_claude_code_marketplace_101_the_job_outlives_its_agent_to_upload_the_result(
    jobs: Jobs,
) -> None:
    jobs.project.plan([{"id": "A", "timeout": 600}])
    jobs.publish()
    assert int(jobs.matrix(jobs.next())[0]["timeout-minutes"]) > 10
    assert any(
        str(step.get("if")).startswith("always()") for step in JOBS["task"]["steps"]
    )


# 10. Cost


def test_pi_subagents_693_multica_4076_factory_3628_axe_19_a_run_stops_at_its_budget_and_keeps_what_it_has(
    project: Project,
) -> None:
    spend = 'report {"cost_usd": 3}'
    project.plan(
        [
            {"id": "A", "do": ["write a: a", spend]},
            {"id": "B", "depends_on": ["A"], "do": ["write b: b", spend]},
        ],
        limits={"max_cost_usd": 2},
    )
    ended = project.run()
    assert project.states() == {"A": "completed", "B": "pending"}
    assert ended.stop_reason is not None
    assert "max_cost_usd" in ended.stop_reason


@pytest.mark.parametrize("cost", ["NaN", "-1", "1e999"])
def test_open_multi_agent_358_a_cost_that_is_no_number_is_unknown_and_not_zero(
    project: Project, cost: str
) -> None:
    project.plan(
        [
            {
                "id": "A",
                "do": ["write a: a", f'report {{"cost_usd": {cost}}}'],
                "max_attempts": 1,
            }
        ]
    )
    project.run()
    assert project.records()["A"].get("cost_usd") is None


def test_redcell_37_no_hard_cap_unless_one_is_set() -> None:
    assert settings.load({}, {}, None).limits.max_cost_usd is None


# 11. Secrets and injection


def test_agentic_sdlc_demo_157_oz_for_oss_295_297_hivemoot_agent_93_the_prompt_is_data_and_never_a_command(
    project: Project, tmp_path: Path
) -> None:
    bait = (
        f"$(touch {tmp_path}/owned) `touch {tmp_path}/owned` ; touch {tmp_path}/owned"
    )
    project.plan([{"id": "A", "title": bait, "do": ["write a: a", bait]}])
    project.run()
    assert project.states() == {"A": "completed"}
    assert not (tmp_path / "owned").exists()


def test_theninjarpg_1317_bernstein_1827_metaflow_1790_openless_222_the_agents_job_can_write_nothing() -> (
    None
):
    assert JOBS["task"]["permissions"] == {"contents": "read"}
    for workflow in WORKFLOWS.glob("*.yml"):
        assert "pull_request_target:" not in workflow.read_text()
    uses = [s["uses"] for j in JOBS.values() for s in j.get("steps", []) if "uses" in s]
    outside = [use for use in uses if not use.startswith("$/")]
    assert all(len(use.partition("@")[2]) == 40 for use in outside)


# 12. Plans


def test_kanban_473_kandev_1110_2589_every_dependency_and_fails_closed(
    project: Project,
) -> None:
    project.plan(
        [{"id": "A", "do": ["write a: a"]}, {"id": "B", "max_attempts": 1, "do": ["fail always"]},
         {"id": "C", "depends_on": ["A", "B"], "do": ["write c: c"]}]
    )  # fmt: skip
    project.run()
    assert project.states() == {"A": "completed", "B": "failed", "C": "pending"}
    assert not (project.root / "c").exists()


def test_spec_kit_1934_3068_cc_sdd_112_kiro_2755_4547_waves_follow_the_dependencies(
    project: Project,
) -> None:
    project.plan(
        [
            {"id": t, "depends_on": d, "do": [f"write {t}: x"]}
            for t, d in (("A", []), ("B", ["A"]), ("C", []))
        ]
    )
    seen = Quiet()
    project.run(seen)
    assert seen.batches == [["A", "C"], ["B"]]


def test_backlog_md_711_783_632_tldw_chatbook_650_a_duplicate_id_is_an_error_with_its_line(
    project: Project,
) -> None:
    project.plan([{"id": "A"}, {"id": "A"}])
    with pytest.raises(InvalidInput, match=r"tasks\.yml:\d+"):
        project.run()


def test_beads_158_95_dirge_380_branches_that_changed_different_records_merge(
    project: Project,
) -> None:
    project.plan([{"id": t, "do": [f"write {t}: x"]} for t in "ABC"], parallel=False)
    project.run(max_rounds=1)
    project.git("branch", "other")
    project.run(max_rounds=1)
    project.git("checkout", "-q", "other")
    shown = project.cli("skip", "C")
    assert shown.returncode == 0, shown.stderr
    project.git("merge", "-q", "--no-edit", "main")
    assert project.states() == {"A": "completed", "B": "completed", "C": "pending"}
    assert project.records()["C"]["skipped"] is True


def test_archon_977_vincent_301_width_is_known_only_at_run_time(
    project: Project,
) -> None:
    project.plan([{"id": "A", "do": ["sleep 0.3", "write a: a"]}])

    def grow() -> None:
        text = (project.root / "tasks.yml").read_text()
        project.write(
            "tasks.yml", f"{text}- {{id: B, title: b, prompt: 'write b: b'}}\n"
        )
        project.commit("a task more")

    project.run(Meanwhile(grow))
    assert project.states() == {"A": "completed", "B": "completed"}


# 13. Matrix


def test_jan_2401_llama_index_15641_datadog_api_client_python_2668_no_leg_cancels_another() -> (
    None
):
    assert JOBS["task"]["strategy"]["fail-fast"] is False
    assert WORKFLOW["jobs"]["round-1"]["if"] == "needs.next.outputs.round != ''"


def test_ai_dispatch_32_71_claude_code_34645_47266_agents_share_no_worktree_and_no_lock(
    project: Project,
) -> None:
    project.plan([{"id": f"T{n}", "do": [f"write f{n}: x", "commit one", "git gc -q"]} for n in range(6)],
                 max_concurrent=6)  # fmt: skip
    project.run()
    assert set(project.states().values()) == {"completed"}
    assert project.git("worktree", "list").count("\n") == 0
