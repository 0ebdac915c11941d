"""Files that hold secrets: their names, and the values in them that no result may hold."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping

from runner.core.patterns import lazy_pattern
from runner.policy.redaction import Secrets, is_short

# Bytes. Keys and settings are small, and a search looks for every value.
MAX_BYTES = 2**16

_NAMES = frozenset(
    {
        ".boto",
        ".dev.vars",
        ".dockercfg",
        ".git-credentials",
        ".htpasswd",
        ".my.cnf",
        ".netrc",
        ".npmrc",
        ".pgpass",
        ".pypirc",
        ".renviron",
        ".s3cfg",
        ".terraformrc",
        ".vault-token",
        ".yarnrc.yml",
        "_netrc",
        "auth.json",
        "credentials",
        "credentials.json",
        "local.settings.json",
        "secrets.json",
        "secrets.toml",
        "secrets.yaml",
        "secrets.yml",
        "service-account.json",
    }
)
_STARTS = (".env", "id_")
_KEY_ENDINGS = (
    *(".asc", ".gpg", ".jks", ".kdbx", ".key", ".keystore", ".p12"),
    *(".p8", ".pem", ".pfx", ".ppk"),
)
_ENDINGS = (*_KEY_ENDINGS, ".tfstate", ".tfvars")
# Folders in which every file is one.
_FOLDERS = frozenset({".aws", ".azure", ".docker", ".gnupg", ".kube", ".ssh"})
# `id_*` are keys of ssh; a program has files that begin so as well, and so has the public
# half of a key.
_NO_KEYS = (
    *(".pub", ".c", ".cc", ".cjs", ".cpp", ".cs", ".css", ".csv", ".go", ".h"),
    *(".html", ".java", ".js", ".jsx", ".kt", ".map", ".md", ".mjs", ".php"),
    *(".png", ".py", ".pyc", ".pyi", ".rb", ".rs", ".svg", ".swift", ".ts"),
    *(".tsx", ".vue"),
)
_BEGINS = lazy_pattern(rb"-----BEGIN ([A-Z0-9 ]+)-----")
_PUBLIC = frozenset(
    {
        b"CERTIFICATE",
        b"TRUSTED CERTIFICATE",
        b"X509 CERTIFICATE",
        b"CERTIFICATE REQUEST",
        b"X509 CRL",
        b"PUBLIC KEY",
        b"RSA PUBLIC KEY",
        b"PGP PUBLIC KEY BLOCK",
        b"DH PARAMETERS",
        b"EC PARAMETERS",
    }
)
# A variable of a .env file; a value in quotes may have several lines.
_VARIABLE = lazy_pattern(
    r"""^[ \t]*(?:export[ \t]+)?([\w.-]+)[ \t]*[=:][ \t]*"""
    r"""("(?:\\.|[^"\\])*"|'[^']*'|`[^`]*`|[^\r\n]*)""",
    re.MULTILINE | re.DOTALL,
)
_COMMENT = lazy_pattern(r"\s#.*")
# `KEY=VALUE` or `KEY: VALUE`. The registry of npm is a part of the key.
_LINE = lazy_pattern(r"""\s*["']?(?P<key>\S.*?)["']?\s*(?:=|:\s)\s*(?P<value>\S.*)""")
_SECRET_KEY = lazy_pattern(
    "auth|cookie|credential|key|pass|private|pwd|secret|session|token", re.IGNORECASE
)
_NETRC = lazy_pattern(r"\b(?:password|account)\s+(\S+)")
_PASSWORD_IN_URL = lazy_pattern(r"://[^/\s:@]*:([^/\s@]+)@")
# What ordinary text holds too: a version, an address of this machine, a word.
_ORDINARY = lazy_pattern(
    r"[0-9]+(?:[.:][0-9]+)+"
    r"|(?:[a-z+]+://)?(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\])(?::[0-9]+)?"
    r"(?:/[\w./-]*)?"
)
_WORD = lazy_pattern(r"[A-Za-z]?[a-z]+|[A-Z]+")


def is_secret_name(name: str) -> bool:
    """Whether a file of that name may hold secrets."""
    folded = name.casefold()
    if folded in _NAMES or folded.endswith(_ENDINGS):
        return True
    if not folded.startswith(_STARTS):
        return False
    return not (folded.startswith("id_") and folded.endswith(_NO_KEYS))


def is_secret_folder(name: str) -> bool:
    """Whether every file in a folder of that name may hold secrets."""
    return name.casefold() in _FOLDERS


def is_secret_path(path: str) -> bool:
    """Whether the file may hold secrets, by its name or a folder above it."""
    *folders, name = path.split("/")
    return is_secret_name(name) or any(map(is_secret_folder, folders))


def is_public(name: str, data: bytes) -> bool:
    """Whether a file of keys holds nothing but certificates and public keys.

    Every environment of Python has such a file, with the authorities that it trusts.
    """
    labels = set(_BEGINS().findall(data))
    return name.casefold().endswith(".pem") and bool(labels) and labels <= _PUBLIC


def secrets_in(path: str, data: bytes, plain: Collection[str] = ()) -> Secrets:
    """The values in the file that no result may hold, each with a name for messages.

    Values in `plain` are not secret, nor are those that ordinary text has as well.
    """
    text = data.decode("utf-8", "surrogateescape")
    found = {}
    for key, value in _values(path, text):
        stripped = value.strip()
        if is_short(stripped) or stripped in plain or _is_ordinary(key, stripped):
            continue
        found[stripped] = f"{key} in {path}" if key else path
    return Secrets(found)


def _is_ordinary(key: str | None, value: str) -> bool:
    """Whether ordinary text holds the value: `NODE_ENV=development`."""
    if key is None:
        return False
    if _ORDINARY().fullmatch(value):
        return True
    return _WORD().fullmatch(value) is not None and not _SECRET_KEY().search(key)


def _values(path: str, text: str) -> Iterator[tuple[str | None, str]]:
    """(key, value) of each value that is a secret; the key is None for a whole file."""
    name = path.rpartition("/")[2].casefold()
    if name.endswith(_KEY_ENDINGS) or name.startswith("id_") or name == ".vault-token":
        yield None, text
    if name.startswith(".env") or name in {".dev.vars", ".renviron"}:
        yield from _variables(text)
    elif name.endswith("netrc"):
        yield from (("password", value) for value in _NETRC().findall(text))
    elif name in {".pgpass", ".htpasswd"}:
        for line in text.splitlines():
            yield "password", line.rpartition(":")[2]
    elif name.endswith((".json", ".tfstate")):
        yield from _members(text)
    else:
        yield from _lines(text)
    for password in _PASSWORD_IN_URL().findall(text):
        yield "password", password


def _variables(text: str) -> Iterator[tuple[str, str]]:
    for match in _VARIABLE().finditer(text):
        key, value = match.groups()
        quote = value[:1]
        if quote and quote in "\"'`" and len(value) > 1 and value.endswith(quote):
            value = value[1:-1]
            yield key, value
            if quote == '"' and "\\" in value:
                yield key, value.replace("\\n", "\n").replace('\\"', '"')
            continue
        yield key, value
        yield key, _COMMENT().sub("", value)


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """The values of the keys that sound like a secret."""
    for line in text.splitlines():
        match = _LINE().match(line)
        if match and _SECRET_KEY().search(match["key"]):
            yield match["key"], match["value"].rstrip(" ,").strip("\"'")


def _members(text: str) -> Iterator[tuple[str, str]]:
    """The texts in a JSON document whose key, or that of what they are in, sounds like a
    secret. One that cannot be read is read by lines.
    """
    try:
        remaining: list[tuple[str, object]] = [("", json.loads(text))]
    except (ValueError, RecursionError):
        yield from _lines(text)
        return
    while remaining:
        key, value = remaining.pop()
        if isinstance(value, Mapping):
            for inner, member in value.items():
                is_secret = bool(_SECRET_KEY().search(key))
                remaining.append((f"{key}.{inner}" if is_secret else inner, member))
        elif isinstance(value, list):
            remaining += [(key, item) for item in value]
        elif isinstance(value, str) and _SECRET_KEY().search(key):
            yield key, value
