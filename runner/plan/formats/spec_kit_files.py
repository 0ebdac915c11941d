"""The files that the text of a spec-kit task names, as globs."""

from __future__ import annotations

import re

from runner.policy.globs import invalid

_TOKEN = re.compile(r"`(?P<code>[^`\s]+)`|(?P<bare>[^\s`,;()\"'“”]+)")
_FILE = re.compile(
    r"\.{0,2}/?(?:[\w.@+\[\]()*-]+/)*[\w.@+\[\]()*-]*\.[A-Za-z][A-Za-z0-9]{0,9}"
)
_FOLDER = re.compile(r"\.{0,2}/?(?:[\w.@+\[\]()-]+/)+")
_LINK = re.compile(r"\[[^\[\]]*\]\([^()\s]*\)")
_LINE_NUMBER = re.compile(r":[0-9]+(?:[-:][0-9]+)?$")
_SOURCE_SUFFIX = re.compile(
    "bash|c|cc|cfg|clj|cpp|cs|css|csv|dart|env|exs?|go|gql|graphql|gradle|h|hpp|hs|html"
    "|ini|ipynb|java|jl|[cm]?js|json|jsonl|jsx|kts?|less|lock|lua|m|mdx?|mod|[cm]?ts"
    "|php|pl|prisma|proto|ps1|pyi?|r|rb|rs|sass|scala|scss|sh|sql|svelte|swift|tex|tf"
    "|toml|tsx|txt|vue|xml|ya?ml|zig|zsh"
)
# Files without a suffix that build tools look for. Prose uses the words too, so without
# backticks they count only beside another path.
_WITHOUT_SUFFIX = re.compile(
    "(?:GNU)?[Mm]akefile"
    "|(?:Docker|Container|Proc|Gem|Rake|Just|Vagrant|Jenkins|Brew|Pip|Tilt|Pod|Fast|Cap)file"
    "|justfile|LICENSE|NOTICE|CODEOWNERS|(?:Docker|Container)file\\.\\w+"
)
# The documents that a feature's tasks are made from: "per plan.md" names what to read,
# not what to change.
_FEATURE_DOCUMENTS = frozenset(
    {
        "plan.md",
        "spec.md",
        "research.md",
        "data-model.md",
        "quickstart.md",
        "tasks.md",
        "contracts/",
        "constitution.md",
    }
)
# `Node.js` in prose is a library, not a file.
_LIBRARY = re.compile(
    r"[A-Z][A-Za-z0-9]*\.js"
    r"|(?:node|next|vue|nuxt|express|react|three|d3|chart|socket)\.js"
)
# A task that changes a manifest also changes the lock file that its tool writes.
_LOCK_FILES = (
    ("package.json", "package-lock.json"),
    ("package.json", "pnpm-lock.yaml"),
    ("package.json", "yarn.lock"),
    ("package.json", "bun.lock*"),
    ("Cargo.toml", "Cargo.lock"),
    ("pyproject.toml", "uv.lock"),
    ("pyproject.toml", "poetry.lock"),
    ("go.mod", "go.sum"),
    ("composer.json", "composer.lock"),
)


def named_files(text: str) -> tuple[str, ...]:
    """Globs of the paths that a task's text names; () if it names none.

    A path ends with a slash, or has a suffix that source files have. `/speck.check` is
    a command, `e.g.` is prose, `a.ts:264` is a line of a file, and a Markdown link is
    something to read.
    """
    paths: list[str] = []
    without_suffix: list[str] = []
    for token in _TOKEN.finditer(_LINK.sub(" ", text)):
        word = _clean_word(token)
        if _is_not_a_path(word):
            continue
        if _FOLDER.fullmatch(word):
            paths.append(f"{word}**")
        elif _is_file(word):
            paths.append(word)
        elif _WITHOUT_SUFFIX.fullmatch(word.rsplit("/", 1)[-1]):
            if token["code"]:
                paths.append(word)
            else:
                without_suffix.append(word)
    if paths:
        paths += without_suffix
    paths += _lock_files_of(paths)
    globs = [path.replace("[", "\\[") for path in paths]
    return tuple(dict.fromkeys(globs))


def _clean_word(token: re.Match[str]) -> str:
    """The token without punctuation, a leading `./` and a line number."""
    word = token["code"]
    if not word:
        word = token["bare"].rstrip(".:!?*").lstrip("*")
    return _LINE_NUMBER.sub("", word.removeprefix("./"))


def _is_not_a_path(word: str) -> bool:
    """True for commands, URLs, placeholders, the feature's documents and libraries."""
    if word.startswith(("/", "../", "@")) or "//" in word or "<" in word:
        return True
    if word.lower() in _FEATURE_DOCUMENTS or invalid(word.replace("[", "\\[")):
        return True
    return _LIBRARY.fullmatch(word) is not None


def _is_file(word: str) -> bool:
    if word.endswith("/") or not _FILE.fullmatch(word):
        return False
    suffix = word.rsplit(".", 1)[-1].lower()
    return word.startswith(".") or _SOURCE_SUFFIX.fullmatch(suffix) is not None


def _lock_files_of(paths: list[str]) -> list[str]:
    lock_files = []
    for path in paths:
        for manifest, lock_file in _LOCK_FILES:
            if path.endswith(manifest):
                lock_files.append(path.removesuffix(manifest) + lock_file)
    return lock_files
