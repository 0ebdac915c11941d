"""The demo's agent, without a model. It executes the lines of its prompt:

write PATH: TEXT          create a file; \\n in the text is a line break
replace PATH: OLD -> NEW  edit a file
fail once: REASON         fail on the first attempt only
sleep SECONDS             take some time

Other lines are ignored.
"""

import os
import sys
import time
from pathlib import Path


def execute(line: str, attempt: int) -> None:
    """Execute one line of the prompt. `attempt` counts from 1."""
    verb, _, rest = line.partition(" ")
    if verb == "write":
        path, _, text = rest.partition(": ")
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text.replace("\\n", "\n") + "\n")
    elif verb == "replace":
        path, _, change = rest.partition(": ")
        old, _, new = change.partition(" -> ")
        Path(path).write_text(Path(path).read_text().replace(old, new))
    elif line.startswith("fail once:") and attempt == 1:
        sys.exit(line.removeprefix("fail once:").strip())
    elif verb == "sleep":
        time.sleep(float(rest))
    else:
        return
    print(f"did: {line}")


if __name__ == "__main__":
    for prompt_line in sys.stdin.read().splitlines():
        execute(prompt_line.strip(), int(os.environ["FANIN_ATTEMPT"]))
