"""From `init` to a landed commit in projects that are built before they are tested."""

from __future__ import annotations

import pytest

from runner.core.result import FailureKind
from tests.support.project import Project, Quiet

PERL = {
    "Makefile.PL": "use ExtUtils::MakeMaker;\nWriteMakefile(NAME => 'Half');\n",
    "lib/Half.pm": "package Half;\nour $VERSION = 1;\nsub of { $_[0] / 2 }\n1;\n",
    "t/half.t": "use Test::More tests => 1;\nuse Half;\nis(Half::of(6), 3);\n",
}
# The work of an agent: what a build makes of a new file is not in its commit either.
PERL_EDIT = """\
sed -i.bak 's:/ 2:* 0.5:' lib/Half.pm && rm lib/Half.pm.bak
mkdir lib/Half && echo 'package Half::New; 1;' > lib/Half/New.pm
perl Makefile.PL && make test && test -e blib/lib/Half/New.pm
"""
C = {
    # instead of the one that autoconf makes
    "configure": "#!/bin/sh\nfolder=$(dirname $0)\n"
    'sed "s:@srcdir@:$folder:" $folder/Makefile.in > Makefile\n',
    "Makefile.am": "bin_PROGRAMS = half\nTESTS = half\n",
    "Makefile.in": "VPATH = @srcdir@\n\nall: half\n\nhalf: half.c\n\t$(CC) -o $@ $<\n\n"
    "check: all\n\t./half\n",
    "half.c": "int main(void) { return 6 / 2 != 3; }\n",
}
C_EDIT = """\
sed -i.bak 's:6 / 2:9 / 3:' half.c && rm half.c.bak
make -C _build check
"""
PLAN = """\
version: 1
tasks:
  - {id: edit, title: Edit, prompt: Edit and test.}
  - {id: break, title: Break, prompt: Break a line., depends_on: [edit]}
"""


@pytest.mark.parametrize(
    ("files", "edit", "breaks", "changed"),
    [
        pytest.param(
            PERL,
            PERL_EDIT,
            "echo 'die;' >> lib/Half.pm; make test",
            ["lib/Half.pm", "lib/Half/New.pm"],
            id="Perl",
        ),
        pytest.param(
            C,
            C_EDIT,
            "sed -i.bak 's:!= 3:!= 4:' half.c; rm half.c.bak; make -C _build check",
            ["half.c"],
            id="C",
        ),
    ],
)
def test_what_is_built_is_tested_and_in_no_commit(
    project: Project, files: dict[str, str], edit: str, breaks: str, changed: list[str]
) -> None:
    # It notices that the tests are red and ends well all the same: verify has to say so.
    agent = f'set -e\nif [ "$FANIN_TASK" = edit ]; then\n{edit}else\n! {{ {breaks}; }}\nfi\n'
    for path, text in {**files, "agent.sh": agent, "tasks.yml": PLAN}.items():
        project.write(path, text)
        (project.root / path).chmod(0o755)
    project.commit()
    made = project.cli("init", "--yes", "--agent-command", "sh agent.sh")
    assert made.returncode == 0, made.stderr
    project.commit("Set up fanin")
    checked = project.cli("doctor")
    assert checked.returncode == 0, checked.stdout
    seen = Quiet()
    project.run(seen, max_attempts=1, verify_retries=0)
    assert project.states() == {"break": "failed", "edit": "completed"}
    (failed,) = [batch.failed for batch in seen.fan_ins if batch.failed]
    assert failed["break"].kind is FailureKind.VERIFY
    landed = project.git("show", "--format=", "--name-only", "HEAD~1").splitlines()
    assert landed == [".fanin/progress.json", *changed]
