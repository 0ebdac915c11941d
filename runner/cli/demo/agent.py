"""The demo's agent: no model, no key. It does what its prompt's lines say, and really
edits files.

write PATH: TEXT        make a file
replace PATH: OLD -> NEW   edit a file in place
fail once: REASON       fail on the first attempt only
sleep SECONDS           think for a while
"""

import os
import sys
import time
from pathlib import Path


def act(line: str, attempt: int) -> None:
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
    for said in sys.stdin.read().splitlines():
        act(said.strip(), int(os.environ["FANIN_ATTEMPT"]))
