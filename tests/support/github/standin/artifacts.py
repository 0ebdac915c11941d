"""Stand-in for actions/upload-artifact (v4 and later) and actions/download-artifact (v5
and later).

A run's artifacts lie in `<store>/<run id>/`: `<id>.json` says what it is, `<id>.zip`
holds the files. The forge's REST answers and the tests read the same place.
"""

from __future__ import annotations

import fnmatch
import hashlib
import itertools
import json
import math
import os
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

FORBIDDEN_IN_PATH = '":<>|*?\r\n'
FORBIDDEN_IN_NAME = FORBIDDEN_IN_PATH + "\\/"
# With a token each artifact is a REST call, and all start at once.
MAX_CONCURRENT_CALLS = 100
PAGE = 100
CONFLICT = (
    "Failed to CreateArtifact: Received non-retryable error: Failed request: (409) Conflict: "
    "an artifact with this name already exists on the workflow run"
)


def say(text: str) -> None:
    """Speak to the log, and to the runner in workflow commands."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class ArtifactError(Exception):
    """The real action would fail here."""


@dataclass(frozen=True)
class Artifact:
    """What a run keeps of one upload."""

    id: int
    name: str
    size: int
    digest: str
    created_at: str
    run_id: int
    run_attempt: int = 1
    job: str = ""


def check_name(name: str) -> None:
    """Refuse what the real action refuses in an artifact's name."""
    if not name:
        raise ArtifactError("Provided artifact name input during validation is empty")
    _check_characters("artifact name", name, FORBIDDEN_IN_NAME)


def _check_characters(what: str, text: str, forbidden: str) -> None:
    for char in forbidden:
        if char in text:
            raise ArtifactError(
                f"The {what} is not valid: {text!r}. Contains the following character: {char!r}"
            )


def _hidden(path: Path) -> bool:
    return path.name.startswith(".")


def _walk(path: Path, include_hidden: bool) -> Iterator[Path]:
    # The real glob looks at the name of the search path itself too: `path: .cache`
    # finds nothing by default.
    if _hidden(path) and not include_hidden:
        return
    if path.is_dir():
        for entry in sorted(path.iterdir()):
            yield from _walk(entry, include_hidden)
    elif path.exists():
        yield path


def _search_root(pattern: Path) -> Path:
    """The part of a pattern before its first wildcard."""
    parts = list(
        itertools.takewhile(lambda part: not set(part) & set("*?["), pattern.parts)
    )
    return Path(*parts)


def _matches(pattern: Path, include_hidden: bool) -> set[Path]:
    """The files that one line of `path` names."""
    root = _search_root(pattern)
    found: set[Path] = set()
    for hit in Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor))):
        # On its way down from the search path the real glob turns away from everything
        # hidden.
        if include_hidden or not any(
            part.startswith(".") for part in hit.relative_to(root).parts
        ):
            found.update(_walk(hit, include_hidden))
    return found


def find_files(
    patterns: str, base: Path, include_hidden: bool
) -> tuple[Path, list[Path]]:
    """The files that a `path` input names and the directory that becomes the artifact's
    root.
    """
    found: set[Path] = set()
    roots: list[Path] = []
    for line in filter(None, (line.strip() for line in patterns.splitlines())):
        pattern = base / line.removeprefix("!")
        if line.startswith("!"):
            found -= _matches(pattern, include_hidden)
        else:
            found |= _matches(pattern, include_hidden)
            roots.append(_search_root(pattern))
    if len(roots) == 1:
        root = roots[0] if roots[0].is_dir() else roots[0].parent
    else:
        root = Path(os.path.commonpath(roots)) if roots else base
    return root, sorted(found)


class Store:
    """The artifacts of all runs below one directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def list(self, run_id: int) -> list[Artifact]:
        """A run's artifacts, oldest first."""
        found = [
            json.loads(path.read_text(encoding="utf-8"))
            for path in (self.root / str(run_id)).glob("*.json")
        ]
        return sorted((Artifact(**item) for item in found), key=lambda item: item.id)

    def find(self, artifact_id: int) -> Artifact | None:
        """An artifact of any run by its id."""
        for path in self.root.glob(f"*/{artifact_id}.json"):
            return Artifact(**json.loads(path.read_text(encoding="utf-8")))
        return None

    def archive(self, artifact: Artifact) -> Path:
        """The zip of an artifact."""
        return self.root / str(artifact.run_id) / f"{artifact.id}.zip"

    def read(self, artifact: Artifact) -> dict[str, bytes]:
        """The files of an artifact."""
        with zipfile.ZipFile(self.archive(artifact)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    def _claim(self, run: Path, name: str) -> Path:
        """Make the name taken, by an act that cannot succeed twice even in parallel
        legs.
        """
        claim = run / f"name-{hashlib.sha256(name.lower().encode()).hexdigest()}"
        try:
            claim.touch(exist_ok=False)
        except FileExistsError:
            raise ArtifactError(CONFLICT) from None
        return claim

    def _next_id(self) -> int:
        ids = self.root / "ids"
        ids.mkdir(exist_ok=True)
        number = 1
        while True:
            try:
                (ids / str(number)).touch(exist_ok=False)
            except FileExistsError:
                number += 1
            else:
                return number

    def hide(self, artifact: Artifact, job: str) -> None:
        """Make it one of `job`: a re-run of that job sees it with a token only."""
        hidden = replace(artifact, job=job)
        path = self.root / str(artifact.run_id) / f"{artifact.id}.json"
        path.write_text(json.dumps(asdict(hidden)), encoding="utf-8")

    def delete(self, run_id: int, name: str) -> None:
        """Remove an artifact by name, if there is one."""
        for artifact in self.list(run_id):
            if artifact.name == name:
                (self.root / str(run_id) / f"{artifact.id}.json").unlink()
                self.archive(artifact).unlink()
        (
            self.root
            / str(run_id)
            / f"name-{hashlib.sha256(name.lower().encode()).hexdigest()}"
        ).unlink(missing_ok=True)

    def create(
        self,
        run_id: int,
        name: str,
        files: Mapping[str, bytes],
        overwrite: bool = False,
        *,
        run_attempt: int = 1,
        job: str = "",
    ) -> Artifact:
        """Keep files under a name that the run does not have yet."""
        check_name(name)
        for path in files:
            _check_characters("path", path, FORBIDDEN_IN_PATH)
        run = self.root / str(run_id)
        run.mkdir(parents=True, exist_ok=True)
        if overwrite:
            self.delete(run_id, name)
        self._claim(run, name)
        number = self._next_id()
        archive = run / f"{number}.zip"
        with zipfile.ZipFile(archive, "w") as file:
            for path, content in files.items():
                # A plain entry: the real upload drops file modes, and links become what
                # they point at.
                file.writestr(zipfile.ZipInfo(path), content)
        data = archive.read_bytes()
        artifact = Artifact(
            number,
            name,
            len(data),
            hashlib.sha256(data).hexdigest(),
            datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            run_id,
            run_attempt,
            job,
        )
        whole = run / f"{number}.json.part"
        whole.write_text(json.dumps(asdict(artifact)), encoding="utf-8")
        whole.rename(run / f"{number}.json")
        return artifact


def _output(env: Mapping[str, str], **values: object) -> None:
    with Path(env["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as file:
        file.writelines(
            f"{name.replace('_', '-')}={value}\n" for name, value in values.items()
        )


def upload(env: Mapping[str, str]) -> None:
    """actions/upload-artifact."""
    name = env["IN_NAME"] or "artifact"
    check_name(name)
    if not env["IN_PATH"].strip():
        raise ArtifactError("Input required and not supplied: path")
    root, files = find_files(
        env["IN_PATH"],
        Path(env["GITHUB_WORKSPACE"]),
        env["IN_INCLUDE_HIDDEN_FILES"] == "true",
    )
    if not files:
        return _nothing_found(env)
    content = {str(path.relative_to(root)): path.read_bytes() for path in files}
    run_id = int(env["GITHUB_RUN_ID"])
    artifact = Store(Path(env["STANDIN_STORE"])).create(
        run_id,
        name,
        content,
        env["IN_OVERWRITE"] == "true",
        run_attempt=int(env.get("GITHUB_RUN_ATTEMPT", "1")),
        job=env.get("STANDIN_JOB", ""),
    )
    url = f"{env['GITHUB_SERVER_URL']}/{env['GITHUB_REPOSITORY']}/actions/runs/{run_id}/artifacts/{artifact.id}"
    _output(
        env, artifact_id=artifact.id, artifact_url=url, artifact_digest=artifact.digest
    )
    say(
        f"Artifact {name} has been successfully uploaded! {len(files)} file(s), id {artifact.id}"
    )
    return None


def _nothing_found(env: Mapping[str, str]) -> None:
    path = env["IN_PATH"].strip()
    message = f"No files were found with the provided path: {path}. No artifacts will be uploaded."
    policy = env["IN_IF_NO_FILES_FOUND"] or "warn"
    if policy not in ("warn", "error", "ignore"):
        raise ArtifactError(f"Unrecognized if-no-files-found input. Provided: {policy}")
    if policy == "error":
        raise ArtifactError(message)
    say(f"::warning::{message}" if policy == "warn" else message)


def _matching(artifacts: list[Artifact], pattern: str) -> list[Artifact]:
    # `*` of minimatch stops at a slash, which a name cannot hold; a leading dot needs
    # to be written.
    expression = re.compile(fnmatch.translate(pattern))
    return [
        item
        for item in artifacts
        if expression.match(item.name)
        and (pattern.startswith(".") or not item.name.startswith("."))
    ]


def select(artifacts: list[Artifact], env: Mapping[str, str]) -> list[Artifact]:
    """The artifacts that the inputs of download-artifact name."""
    if env["IN_NAME"] and env["IN_ARTIFACT_IDS"]:
        raise ArtifactError(
            "Inputs 'name' and 'artifact-ids' cannot be used together. Please specify only one."
        )
    if env["IN_NAME"]:
        found = [item for item in artifacts if item.name == env["IN_NAME"]]
        if not found:
            raise ArtifactError(
                f"Unable to download artifact(s): Artifact not found for name: {env['IN_NAME']}"
            )
        return found[-1:]
    if env["IN_ARTIFACT_IDS"]:
        wanted = {int(word) for word in env["IN_ARTIFACT_IDS"].split(",")}
        return [item for item in artifacts if item.id in wanted]
    return _matching(artifacts, env["IN_PATTERN"]) if env["IN_PATTERN"] else artifacts


def visible(artifacts: list[Artifact], env: Mapping[str, str]) -> list[Artifact]:
    """The artifacts that a download sees.

    With a token those of all run attempts. Without one those of this attempt, and of
    jobs that are not run again in it.
    """
    if env["IN_GITHUB_TOKEN"]:
        return artifacts
    attempt = int(env.get("GITHUB_RUN_ATTEMPT", "1"))
    again = env.get("STANDIN_JOBS_AGAIN", "").split()
    return [
        item
        for item in artifacts
        if item.run_attempt == attempt or item.job not in again
    ]


def check_digest(store: Store, artifact: Artifact, policy: str) -> None:
    """Compare what was downloaded with the digest of the upload."""
    if policy not in ("ignore", "info", "warn", "error"):
        raise ArtifactError(f"Invalid value for 'digest-mismatch': {policy}")
    data = store.archive(artifact).read_bytes()
    if hashlib.sha256(data).hexdigest() == artifact.digest or policy == "ignore":
        return
    message = f"Artifact {artifact.name}: the digest of the download does not match"
    if policy == "error":
        raise ArtifactError(message)
    say(f"::warning::{message}" if policy == "warn" else message)


def download(env: Mapping[str, str]) -> int:
    """actions/download-artifact; returns the number of its calls of the REST API."""
    if env["IN_REPOSITORY"] not in ("", env["GITHUB_REPOSITORY"]):
        raise ArtifactError("the stand-in knows one repository")
    if (
        env["IN_RUN_ID"] not in ("", env["GITHUB_RUN_ID"])
        and not env["IN_GITHUB_TOKEN"]
    ):
        raise ArtifactError("another run's artifacts need github-token")
    store = Store(Path(env["STANDIN_STORE"]))
    run_id = int(env["IN_RUN_ID"] or env["GITHUB_RUN_ID"])
    every = store.list(run_id)
    chosen = select(visible(every, env), env)
    if env["IN_GITHUB_TOKEN"] and len(chosen) > MAX_CONCURRENT_CALLS:
        raise ArtifactError(
            "Unable to download artifact(s): You have exceeded a secondary rate limit"
        )
    root = (Path(env["GITHUB_WORKSPACE"]) / env["IN_PATH"]).resolve()
    # Since v5 a single artifact goes straight into `path`, even when a pattern found
    # it.
    flat = env["IN_MERGE_MULTIPLE"] == "true" or len(chosen) == 1
    for artifact in chosen:
        target = root if flat else root / artifact.name
        target.mkdir(parents=True, exist_ok=True)
        check_digest(store, artifact, env.get("IN_DIGEST_MISMATCH") or "error")
        with zipfile.ZipFile(store.archive(artifact)) as archive:
            archive.extractall(target)
    _output(env, download_path=root)
    say(f"Total of {len(chosen)} artifact(s) downloaded")
    if not env["IN_GITHUB_TOKEN"]:
        return 0
    # A name is asked for; for anything else, ids too, the run's artifacts are listed.
    lists = 1 if env["IN_NAME"] else max(1, math.ceil(len(every) / PAGE))
    return lists + len(chosen)


def main(verb: str) -> int:
    """Called by the two actions."""
    try:
        if verb == "upload":
            upload(os.environ)
        else:
            download(os.environ)
    except ArtifactError as error:
        say(f"::error::{str(error).replace('%', '%25').replace(chr(10), '%0A')}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
