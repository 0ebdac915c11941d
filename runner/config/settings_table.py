"""One row for each setting that a flag, a variable or an action input can give.

The flags (`cli.options`), the `FANIN_*` variables (`config.settings`) and what a round
hands on (`actions.round_state`) read these rows. `python -m runner.schemas` writes from
them the inputs of both `action.yml` and of the workflows, the table in docs/settings.md
and the descriptions in the JSON Schema.

A new setting is one row here and one typed field in `settings.Settings`; a test
compares the two. This module is loaded by `fanin --help`, so it imports nothing slow.
"""

from __future__ import annotations

from typing import NamedTuple

# Commands that decide what runs: every setting matters to them.
_DECIDING = ("run", "check", "doctor", "next")
_SIMULATING = (*_DECIDING, "simulate")
# Commands that show what the tasks have done.
_SHOWING = ("status", "show", "log", "diff", "report", "prune")
# Commands that change what tasks have done.
_CHANGING = ("retry", "skip", "hold", "approve", "reply", "undo", "accept")
_READING_THE_PLAN = (*_SIMULATING, *_SHOWING, *_CHANGING, "graph", "task")
_CHOOSING_AN_AGENT = (*_DECIDING, "task")
# Commands that show or change how many attempts a task has left.
_COUNTING_ATTEMPTS = (
    *_SIMULATING,
    *("retry", "undo", "status", "report", "graph", "answer"),
)
_LANDING = (*_DECIDING, *_SHOWING, *_CHANGING, "continue", "collect", "answer")


class Setting(NamedTuple):
    """One setting as flags, variables, action inputs and the documentation have it.

    `name` is also that of the flag (`max_rounds`: `--max-rounds`), the variable
    (`FANIN_MAX_ROUNDS`) and the action input (`max-rounds`). `path` is where the value
    lies in fanin.yml, dotted, if that is not `name`.

    `kind` is the type of the value as text:
    - `text`, `integer`, `number`, `boolean`
    - `mapping`: YAML in one line, or the short text form that fanin.yml takes too
    - `lines`: one item a line; the flag may be repeated
    - `pairs`: one NAME=value a line; the flag may be repeated
    - `command`: a command line, split as a shell does
    """

    name: str
    kind: str
    summary: str  # of the flag and the input; one sentence without its full stop
    commands: tuple[str, ...]  # that have the flag
    path: str = ""
    meaning: str = ""  # Markdown for docs/settings.md, if the summary is not enough
    default: str = ""  # as written in fanin.yml; "" if there is none to write
    no_default: str = "none"  # what docs/settings.md says when there is no `default`
    metavar: str = ""
    negative_flag: str = ""  # what turns a boolean off
    action_default: str = ""  # of the action input, if it is not the setting's own
    handed_on: bool = True  # later rounds use the value of a run's first round
    in_issues_workflow: bool = True  # fanin-issues.yml has the input
    on_actions: bool = True  # the actions and the workflows have the input

    @property
    def flag(self) -> str:
        return f"--{self.name.replace('_', '-')}"

    @property
    def variable(self) -> str:
        return f"FANIN_{self.name.upper()}"

    @property
    def action_input(self) -> str:
        return self.name.replace("_", "-")

    @property
    def key(self) -> str:
        """The dotted key in fanin.yml."""
        return self.path or self.name

    @property
    def description(self) -> str:
        """The summary, with the default where there is one."""
        if not self.default or self.kind == "boolean":
            return self.summary
        return f"{self.summary} (default: {self.default})"

    @property
    def input_description(self) -> str:
        """The description for those who give the value as text."""
        if self.kind == "lines":
            return f"{self.description}; one a line"
        if self.kind == "pairs":
            return f"{self.description}; lines {self.metavar}"
        return self.description


SETTINGS = (
    Setting(
        "plan",
        "mapping",
        "The plan's file or folder, relative to the repository",
        (*_READING_THE_PLAN, "collect", "answer"),
        meaning="the plan's file or folder, relative to the repository; it must be "
        "committed. A list of them, or a pattern such as `specs/*/tasks.md`, is "
        "[several plans](#several-plans). `{path: …, source: NAME, options: {…}, ignore_dangling: true, "
        "strict: true}` is accepted too, see below",
        default="tasks.yml",
        metavar="PATH",
    ),
    Setting(
        "source",
        "text",
        "The plan's format, if it is not to be detected from name and content",
        _READING_THE_PLAN,
        path="plan.source",
        no_default="detected",
        metavar="NAME",
        in_issues_workflow=False,
    ),
    Setting(
        "option",
        "pairs",
        "An option of the plan's format",
        _READING_THE_PLAN,
        path="plan.options",
        meaning="options of the plan's format, see below",
        metavar="NAME=VALUE",
        in_issues_workflow=False,
    ),
    Setting(
        "strict",
        "boolean",
        "Refuse a plan with records that cannot be read instead of leaving them out",
        _READING_THE_PLAN,
        path="plan.strict",
        default="false",
        in_issues_workflow=False,
    ),
    Setting(
        "skip_line",
        "lines",
        "The number of an unreadable line of the plan to ignore",
        _READING_THE_PLAN,
        path="plan.skip_lines",
        meaning="line numbers of a spec-kit plan to ignore: these lines cannot be read "
        "as tasks, and no task waits for them",
        metavar="N",
        in_issues_workflow=False,
    ),
    Setting(
        "ignore_dangling",
        "boolean",
        "Drop dependencies on unknown tasks",
        (*_READING_THE_PLAN, "answer"),
        path="plan.ignore_dangling",
        default="false",
        in_issues_workflow=False,
    ),
    Setting(
        "parallel",
        "boolean",
        "Run ready tasks in parallel",
        _SIMULATING,
        meaning="run ready tasks in parallel; off: one at a time, with the same "
        "outcome. The action's input is `true` by default",
        default="false",
        negative_flag="--sequential",
        # Jobs of a matrix exist to run in parallel.
        action_default="true",
    ),
    Setting(
        "max_concurrent",
        "integer",
        "How many agents may run at once, and tasks per batch, 1 to 256",
        _SIMULATING,
        default="3",
        metavar="N",
    ),
    Setting(
        "commit_strategy",
        "text",
        "batch: one commit per batch; individual: one per task",
        _DECIDING,
        meaning="`batch`: one commit per batch; `individual`: one per task in plan "
        "order, same final tree",
        default="batch",
        metavar="batch|individual",
    ),
    Setting(
        "schedule",
        "text",
        "batch: one batch after another; rolling: each task as soon as it is ready",
        _SIMULATING,
        meaning="`batch`: the next batch starts when the previous one has landed; `rolling`: a "
        "task starts as soon as its dependencies are merged "
        "([more](how-it-works.md)). GitHub Actions works in batches and refuses "
        "`rolling`",
        default="batch",
        metavar="batch|rolling",
    ),
    Setting(
        "max_attempts",
        "integer",
        "Attempts per task",
        _COUNTING_ATTEMPTS,
        default="3",
        metavar="N",
    ),
    Setting(
        "timeout",
        "text",
        "Time limit per attempt",
        _DECIDING,
        meaning="time limit per attempt; then the agent's whole process group is killed",
        default="30m",
        metavar="DURATION",
    ),
    Setting(
        "on_limit",
        "text",
        "At a usage limit of the agent: wait until it resets, or stop",
        _DECIDING,
        meaning="at a usage limit of the agent (session, day, week): `wait` until it "
        "resets, or `stop` with exit code 4; on one machine "
        "([more](agents.md#usage-limits))",
        default="wait",
        metavar="wait|stop",
    ),
    Setting(
        "on_limit_max",
        "text",
        "The longest wait for a usage limit; beyond it the run ends",
        _DECIDING,
        meaning="the longest wait for a usage limit; if its reset is further away, the "
        "run ends with exit code 4",
        default="12h",
        metavar="DURATION",
    ),
    Setting(
        "keep_runs",
        "integer",
        "How many runs to keep the events and logs of, the last one included",
        ("run",),
        meaning="how many runs `.git/fanin/runs` keeps, with their "
        "[events](events.md) and logs; the oldest go first, but none with kept work that "
        "did not land",
        default="20",
        metavar="N",
        handed_on=False,
        on_actions=False,
    ),
    Setting(
        "keep_runs_size",
        "text",
        "How much the events and logs of the kept runs may take",
        ("run",),
        meaning="how much all these runs may take; beyond it fewer are kept",
        default="500MiB",
        metavar="SIZE",
        handed_on=False,
        on_actions=False,
    ),
    Setting(
        "include",
        "lines",
        "Ignored files of the work tree that each checkout gets, as gitignore patterns",
        ("run", "check", "doctor"),
        meaning="which ignored files of your work tree each checkout gets, as gitignore "
        "patterns: `[node_modules, .env.local]`, "
        "[more](#ignored-files-include). On GitHub Actions a job's clone has no ignored "
        "files, so there it does nothing",
        metavar="PATTERN",
        handed_on=False,
        on_actions=False,
    ),
    Setting(
        "setup",
        "text",
        "Shell script that prepares each checkout, before the agent and before verify",
        _DECIDING,
        meaning="shell script that runs in each new checkout, before the agent and "
        "before `verify`. If it fails, no attempt counts. What it writes is not the "
        "task's change",
        metavar="SCRIPT",
    ),
    Setting(
        "setup_env",
        "lines",
        "Names of secret variables that setup may see",
        _DECIDING,
        meaning="names of secret variables that `setup` may see, and neither the agent "
        "nor `verify`. Their values are masked, and results with one are refused",
        metavar="NAME",
    ),
    Setting(
        "setup_timeout",
        "text",
        "Time limit of setup",
        _DECIDING,
        default="10m",
        metavar="DURATION",
    ),
    Setting(
        "workspace",
        "text",
        "fresh: a new checkout for each attempt; pooled: reset those of earlier attempts",
        _DECIDING,
        meaning="`fresh`: each attempt gets a checkout as git makes it, and `setup` runs in it; "
        "`pooled`: checkouts are reset and used again, so that `setup` runs once for each "
        "of those that are in use at once ([more](#used-again-workspace-pooled)); on one "
        "machine",
        default="fresh",
        metavar="fresh|pooled",
    ),
    Setting(
        "verify",
        "text",
        "Shell command that must succeed on the merged tree before it lands",
        (*_SIMULATING, "accept"),
        meaning="shell command that must succeed on the merged tree before it lands. If "
        "it fails, the batch is bisected and the tasks at fault are sent back",
        metavar="COMMAND",
    ),
    Setting(
        "verify_retries",
        "integer",
        "How often a failed verify is run again before it counts, 0 to 10",
        _DECIDING,
        default="1",
        metavar="N",
    ),
    Setting(
        "verify_concurrent",
        "integer",
        "How many merged trees are verified at once, 1 to 64",
        ("run",),
        meaning="how many merged trees are verified at once, 1 to 64; above 1, commands "
        "that use a port or a database must tell themselves apart by `FANIN_SLOT` "
        "([more](#verifying-what-lands-verify)). On one machine",
        default="1",
        metavar="N",
        handed_on=False,
        on_actions=False,
    ),
    Setting(
        "verify_cache",
        "boolean",
        "Do not verify a tree that was green within a day",
        ("run",),
        meaning="do not verify a tree again that was green within the last day: "
        "[more](#verifying-what-lands-verify). It is kept on this machine, so on GitHub Actions it does "
        "nothing",
        default="true",
        negative_flag="--no-verify-cache",
        handed_on=False,
        on_actions=False,
    ),
    Setting(
        "verify_base",
        "text",
        "check: verify the base before an agent starts; ignore: start on a red one too",
        ("run",),
        meaning="`check`: the branch is verified before the first agent starts, and if it "
        "is red, none does; `ignore`: agents start on a red branch too. On one machine "
        "([more](#verifying-what-lands-verify))",
        default="check",
        metavar="check|ignore",
        handed_on=False,
        on_actions=False,
    ),
    Setting(
        "start_after",
        "text",
        "verify: a task starts when what it depends on is verified; merge: when it is "
        "merged",
        ("run",),
        meaning="with `schedule: rolling`. `verify`: a task starts when the work that it "
        "depends on is verified; `merge`: when that is merged, while `verify` runs. If it "
        "turns out red, the task is stopped and starts again, and what it used is spent. "
        "Only verified work lands ([more](#verifying-what-lands-verify)). On one machine",
        default="verify",
        metavar="verify|merge",
        handed_on=False,
        on_actions=False,
    ),
    Setting(
        "agent",
        "mapping",
        "The agent, as the name of a preset, or several: [claude, codex]",
        (*_CHOOSING_AN_AGENT, "agents"),
        meaning="a preset's name, `{preset: claude, model: ...}`, "
        "`{command: [argv...], env: [NAMES]}`, or a list of agents to try in order at "
        "usage limits, `[claude, codex]`: [agents](agents.md)",
        metavar="PRESET",
    ),
    Setting(
        "agent_command",
        "command",
        "The agent, as a command line",
        (*_CHOOSING_AN_AGENT, "agents"),
        path="agent.command",
        meaning="any program as the agent. In fanin.yml a list, elsewhere a command "
        "line",
        metavar="'CMD ARG…'",
    ),
    Setting(
        "env",
        "pairs",
        "Variables for agent, setup and verify that are not secret",
        _DECIDING,
        meaning="variables for agent and verify that are not secret: "
        "`{AWS_REGION: us-east-1}`, see below",
        metavar="NAME=VALUE",
    ),
    Setting(
        "prompt_template",
        "text",
        "The template of the prompt, a file of the repository",
        _CHOOSING_AN_AGENT,
        meaning="the template of the prompt, a file of the repository: "
        "[agents](agents.md#the-prompt)",
        no_default="built in",
        metavar="PATH",
    ),
    Setting(
        "sandbox",
        "mapping",
        "Walls around agents, setup and verify: auto, require or off",
        _DECIDING,
        meaning="walls around agents, `setup` and `verify`: `auto` puts up those that the "
        "machine can, `require` refuses to run without them, `off` puts up none. `{mode: …, "
        "write: […], read: […], hide: […], sockets: [docker, ssh-agent], network: off}` "
        "opens and closes single things ([more](sandbox.md)); on one machine",
        default="auto",
        metavar="auto|require|off",
        handed_on=False,
        on_actions=False,
    ),
    Setting(
        "protected",
        "lines",
        "Paths that no task may change, as globs; they replace the default list",
        _DECIDING,
        meaning="paths that no task may change, as globs; they replace the default list. "
        "A task's `allow:` makes an exception, its `files` do not",
        no_default="see below",
        metavar="GLOB",
    ),
    Setting(
        "tasks",
        "mapping",
        "Settings of single tasks by id, for plans that have no field for them",
        _READING_THE_PLAN,
        meaning="settings of single tasks, for plans that have no field for them: "
        "`{T002: {allow: [CLAUDE.md], files: […], agent: …, verify: …, retry_from: …, gate: …, sandbox: require}}`. "
        "A field that is given replaces the plan's",
        metavar="MAPPING",
        in_issues_workflow=False,
    ),
    Setting(
        "scope",
        "text",
        "fail: refuse changes outside a task's files; warn: accept them",
        _DECIDING,
        meaning="a change outside the task's `files`: `fail` refuses it, `warn` "
        "accepts it with a warning",
        default="fail",
        metavar="fail|warn",
    ),
    Setting(
        "retry_from",
        "text",
        "work: a retry goes on with the earlier work; base: it starts anew",
        _DECIDING,
        meaning="what a retry starts from: `work`: the earlier attempt's work, merged "
        "onto the present base ([more](how-it-works.md)); `base`: the base "
        "alone. A task's `retry_from:` replaces it",
        default="work",
        metavar="work|base",
    ),
    Setting(
        "limits",
        "mapping",
        "Limits on the changes of a task",
        _DECIDING,
        meaning="limits on the changes of a task: the number of `files` and their total "
        "`size`. The two limits below are for a run",
        default="{files: 100, size: 4MiB}",
        metavar="MAPPING",
    ),
    Setting(
        "max_cost_usd",
        "number",
        "Start no more agents once a run has cost this much, in US dollars",
        (*_DECIDING, "continue"),
        path="limits.max_cost_usd",
        metavar="USD",
    ),
    Setting(
        "max_rounds",
        "integer",
        "Batches per run",
        (*_DECIDING, "continue"),
        path="limits.max_rounds",
        meaning="batches per run; with `rolling` landings",
        default="100",
        metavar="N",
    ),
    Setting(
        "progress",
        "text",
        "The file that records the progress",
        (*_READING_THE_PLAN, "collect", "answer"),
        meaning="the file that records the progress; one plan, or one list of plans, per file",
        default=".fanin/progress.json",
        metavar="PATH",
    ),
    Setting(
        "deliver",
        "text",
        "branch: work lands on the branch; pull-request: in a pull request into it",
        _LANDING,
        meaning="`branch`: work lands on the branch; `pull-request`: on a branch of the "
        "run's own, with one pull request into it ([more](review.md#a-pull-request-for-a-run))",
        default="branch",
        metavar="branch|pull-request",
        in_issues_workflow=False,
    ),
    Setting(
        "branch",
        "text",
        "The branch that work lands on (default: the current branch)",
        _LANDING,
        meaning="the branch that work lands on; created from HEAD if it does not exist",
        no_default="the current one",
        metavar="NAME",
        # The state of a run names its branch, which may be another one by then.
        handed_on=False,
    ),
)

BY_NAME = {setting.name: setting for setting in SETTINGS}


def negative_flag_of(key: str) -> str:
    """The flag that turns the setting off; "" if there is none."""
    covering = key_in(key)
    return covering[0].negative_flag if covering else ""


def key_in(dotted: str) -> tuple[Setting, str] | None:
    """The row that a dotted key of fanin.yml belongs to, and the rest of the key.

    `limits.max_rounds` belongs to max_rounds with no rest, `limits.files` to limits
    with the rest `.files`. None if no row covers the key.
    """
    covering = None
    for setting in SETTINGS:
        is_below = dotted.startswith(f"{setting.key}.")
        is_closer = covering is None or len(setting.key) > len(covering.key)
        if (dotted == setting.key or is_below) and is_closer:
            covering = setting
    if covering is None:
        return None
    return covering, dotted.removeprefix(covering.key)
