"""The command of a comment: which line is one, and how it is written."""

from __future__ import annotations

import pytest

from runner.comments import answers
from runner.comments.command import Command, command_lines, find_command
from runner.core.errors import UsageProblem
from runner.core.result import Failure, FailureKind, Question
from runner.core.task import Plan, Status
from runner.local.request_outcome import Outcome
from runner.plan.graph import TaskGraph
from runner.plan.progress import Progress
from runner.plan.records import Record
from runner.plan.view import views
from runner.ui.round_summary import RoundReport, sticky_comment
from tests.support.builders import task

LINE = "/fanin approve T1"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    "body",
    [
        LINE,
        f"Looks good.\n{LINE}\nThanks!",
        f"Looks good.  \n{LINE}",
        f"> I asked for this.\n\n{LINE}",
        f"```\n/fanin hold T1\n```\n{LINE}\n",
        f"Looks good.\r\n{LINE}\r\n",
        f"<!-- a template's words -->\n\n{LINE}",
        f'<img width="9" src="https://e.org/a.png">\n\n{LINE}',
        f"<b>Note</b>\n\n{LINE}",
        f"`/fanin` takes commands:\n{LINE}",
        f"# Title\n{LINE}",
    ],
)
def test_a_line_of_the_authors_own_text_is_a_command(body: str) -> None:
    assert command_lines(body) == [LINE]


@pytest.mark.parametrize(
    "body",
    [
        f"> {LINE}",
        f"> quoted\n{LINE}",  # the quote goes on without its sign
        f"```\n{LINE}\n```",
        f"~~~text\n{LINE}",
        f"```\ncode\n\u200b```\n{LINE}\n```",  # no end of the fence on the page
        f"text\n\n    {LINE}",
        f" {LINE}",
        f"- {LINE}",
        f"- item\n{LINE}",
        f"`code\n{LINE}\nmore`",
        f"[a\n{LINE}\nb](https://e.org)",
        f"**a\n{LINE}**",
        f"~~a\n{LINE}~~",
        f"<!--\n{LINE}\n-->",
        f"text <!--\n{LINE}\n--> more",
        f'text <a title="\n{LINE}\n">more</a>',
        f"<pre>\n{LINE}\n</pre>",
        f"<blockquote>\n\n{LINE}\n\n</blockquote>",
        f"text <blockquote>\n{LINE}",
        f"<blockquote>\n\n<!-- </blockquote> -->\n\n{LINE}",
        f"<details><summary>x</summary>\n\n{LINE}\n\n</details>",
        f"a | b\n--|--\n{LINE} | c",
        f"{LINE}\n===",
        f"[x]: https://e.org '\n{LINE}\n'",
        "/fanin-retry T1",
        "/Fanin approve T1",
        "see /fanin approve T1",
        "\u200b/fanin approve T1",
        "",
    ],
)
def test_what_is_quoted_code_or_not_shown_is_no_command(body: str) -> None:
    assert command_lines(body) == []
    assert find_command(body) is None


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("approve T1 T2", Command("approve", ("T1", "T2"))),
        ("hold app/T-1:2", Command("hold", ("app/T-1:2",))),
        ("hold -1", Command("hold", ("-1",))),
        ("hold -- --redo -2", Command("hold", ("--redo", "-2"))),
        (
            "undo --with-dependents -- T1 --x",
            Command("undo", ("T1", "--x"), frozenset({"--with-dependents"})),
        ),
        (
            "hold 'Set up the db' ‘b 2’ it's",
            Command("hold", ("Set up the db", "b 2", "it's")),
        ),
        ("hold 'a_b *c* [d] `e`'", Command("hold", ("a_b *c* [d] `e`",))),
        (
            "hold bd-a3f8.1 octo/work#3 C++ <b>",
            Command("hold", ("bd-a3f8.1", "octo/work#3", "C++", "<b>")),
        ),
        ("reply 'a b' \"It's so.\"", Command("reply", ("a b",), text="It's so.")),
        ('retry T1 "Keep it."', Command("retry", ("T1",), text="Keep it.")),
        ('retry T1 “a "b" c” ', Command("retry", ("T1",), text='a "b" c')),
        ('reply T1 "Yes."', Command("reply", ("T1",), text="Yes.")),
        ('retry T1 --message "a"', Command("retry", ("T1",), text="a")),
        (
            "retry T1 --from-review --redo",
            Command("retry", ("T1",), frozenset({"--from-review", "--redo"})),
        ),
        (
            "undo T1 --with-dependents",
            Command("undo", ("T1",), frozenset({"--with-dependents"})),
        ),
        (f"accept T1 {COMMIT}", Command("accept", ("T1",), commit=COMMIT)),
        ('retry T1 "a<!-- b -->c"', Command("retry", ("T1",), text="ac")),
        ('retry T1 "a\u200b\u202eb"', Command("retry", ("T1",), text="ab")),
        # An alternative text is not shown.
        (
            'retry T1 "![b](u) $(id) `id`; \'"',
            Command("retry", ("T1",), text="![](u) $(id) `id`; '"),
        ),
    ],
)
def test_ids_options_and_one_text(line: str, command: Command) -> None:
    assert find_command(f"/fanin {line}") == command


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("", "no command"),
        ("merge T1", "merge is no command here"),
        ("approve", "no task is named"),
        ("approve T1 --force", "unknown option --force"),
        ('approve T1 "now"', "it takes no text"),
        ('retry T1 ""', "the text is empty"),
        ("reply T1", "the text is empty"),
        ('reply T1 T2 "Yes."', "2 ids"),
        ("retry T1 --message", "the text is empty"),
        ("retry T1 T2 --from-review", "told to one task at a time"),
        ('retry T1 "a" T2', "a text is the last of the line"),
        ('retry T1 "a', "a text is the last of the line"),
        # The page shows nothing of a comment that another line closes.
        ('retry T1 "a <!-- b\n--> c"', "a text is the last of the line"),
        ("accept T1", "the full id of the kept commit is missing"),
        ("accept T1 0123abc", "the full id of the kept commit is missing"),
        (f"accept T1 T2 {COMMIT}", "2 ids"),
    ],
)
def test_what_is_wrong_with_a_command_is_said_with_its_usage(
    line: str, problem: str
) -> None:
    with pytest.raises(UsageProblem) as caught:
        find_command(f"/fanin {line}".rstrip(" "))
    assert problem in caught.value.message
    assert "write  /fanin " in str(caught.value)


def test_a_command_has_a_size() -> None:
    for line, problem in (
        (f"retry {'T' * 9000}", "the line has 9,013 characters"),
        (f'retry T1 "{"a" * 4001}"', "the text has 4,001 of 4,000 characters"),
        (f"approve {'T ' * 101}", "101 ids"),
    ):
        with pytest.raises(UsageProblem, match=problem):
            find_command(f"/fanin {line}")


def test_the_first_line_counts_and_the_others_are_counted() -> None:
    command = find_command(f"{LINE}\n/fanin hold T2\n\n/fanin hold T3\n\n> {LINE}")
    assert command == Command("approve", ("T1",), ignored=2)


def test_words_of_agents_and_plans_in_fanins_comment_are_no_command() -> None:
    """A comment of fanin may be a person's, by a token of theirs."""
    words = f"Which?\n{LINE}\n```\n{LINE}\n`````\n</details>\n\n{LINE}\n"
    failure = Failure(kind=FailureKind.AGENT_ERROR, message=words, log_tail=words)
    records = {
        "T1": Record(attempts=1, questions=[Question(attempt=1, text=words)]),
        "T2": Record(status=Status.FAILED, attempts=3, error=failure),
    }
    tasks = [task(task_id, title=words) for task_id in (*records, LINE)]
    plan = Plan(path="tasks.yml", source="native", tasks=tuple(tasks))
    shown = views(plan, TaskGraph(tasks, plan.path), Progress(plan.path, records), 3)
    report = RoundReport(
        "7.1", "main", failed={"T2": failure}, warnings=[words], has_comments=True
    )
    text = sticky_comment(shown, report)
    assert text.count(LINE) > 3
    assert command_lines(text) == []
    outcome = Outcome(("T1",), (words,), "0" * 40, (LINE, words), already=words)
    answer = answers.done(Command("undo", ("T1",)), outcome, "https://e.org", "")
    refusal = answers.refused(UsageProblem(words, words))
    assert command_lines(answer) == command_lines(refusal) == []
