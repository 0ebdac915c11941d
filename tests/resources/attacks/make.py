"""Makes the packs and documents beside it, byte by byte: `python tests/resources/attacks/make.py`.

git itself would not write them. `packs.json` names each pack's tree and who must refuse it; `documents.json` holds
what stands in a `result.json` ($NAME is filled in by the test). No archive is among them: fanin unpacks none.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path

HERE = Path(__file__).parent
COMMIT, TREE, BLOB, REF_DELTA = 1, 2, 3, 7
NAMES = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob"}
Object = tuple[int, bytes]


def object_id(kind: int, data: bytes) -> bytes:
    return hashlib.sha1(NAMES[kind] + b" %d\0" % len(data) + data).digest()


def entry(mode: bytes, name: bytes, target: bytes) -> bytes:
    return mode + b" " + name + b"\0" + target


def header(kind: int, size: int) -> bytes:
    first, size = (kind << 4) | (size & 15), size >> 4
    out = bytearray()
    while size:
        out.append(first | 0x80)
        first, size = size & 0x7F, size >> 7
    return bytes([*out, first])


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def pack(parts: list[bytes], count: int | None = None) -> bytes:
    body = (
        b"PACK"
        + (2).to_bytes(4, "big")
        + (count or len(parts)).to_bytes(4, "big")
        + b"".join(parts)
    )
    return body + hashlib.sha1(body).digest()


def whole(kind: int, data: bytes) -> bytes:
    return header(kind, len(data)) + zlib.compress(data)


def delta(base: bytes, made: int, instructions: bytes, source: int) -> bytes:
    data = varint(source) + varint(made) + instructions
    return header(REF_DELTA, len(data)) + base + zlib.compress(data)


def copies(of: int, times: int) -> bytes:
    """`times` instructions that copy the first `of` bytes."""
    size = of.to_bytes(3, "little")
    flags = 0x80 | sum(0x10 << place for place, byte in enumerate(size) if byte)
    return bytes([flags, *(byte for byte in size if byte)]) * times


FILE = b"innocent\n"
FILE_ID = object_id(BLOB, FILE)
EVIL = b"[core]\n\tfsmonitor = touch /tmp/owned\n"
EVIL_ID = object_id(BLOB, EVIL)
CONFIG = entry(b"100644", b"config", EVIL_ID)
CONFIG_ID = object_id(TREE, CONFIG)
LINK_ID = object_id(BLOB, b"/etc/passwd")
MODULES = b'[submodule "x"]\n\tpath = x\n\turl = --upload-pack=touch /tmp/owned\n'
COMMON: list[Object] = [
    (BLOB, FILE),
    (BLOB, EVIL),
    (TREE, CONFIG),
    (BLOB, b"/etc/passwd"),
    (BLOB, MODULES),
]


def plain(name: bytes) -> bytes:
    return entry(b"100644", name, FILE_ID)


TREES: dict[str, tuple[bytes, str]] = {
    **{
        f"dot-git-{number}": (entry(b"40000", name, CONFIG_ID), "corrupt")
        for number, name in enumerate(
            [b".git", b".GIT", b".Git", b"git~1", b"GIT~1", b".git.", b".git ", b".git . .", b".git::$INDEX_ALLOCATION",
             ".g\u200cit".encode(), "\ufeff.git".encode(), ".gi\u200dt".encode()]
        )
    },
    "git-2": (entry(b"40000", b"git~2", CONFIG_ID), "policy"),
    "backslash": (plain(b"a\\.git\\config"), "corrupt"),
    "parent": (entry(b"40000", b"..", CONFIG_ID), "corrupt"),
    "here": (entry(b"40000", b".", CONFIG_ID), "corrupt"),
    "empty-name": (plain(b""), "corrupt"),
    "slash-in-name": (plain(b"a/../../x"), "corrupt"),
    "duplicate": (plain(b"a") + plain(b"a"), "corrupt"),
    "duplicate-file-and-folder": (plain(b"a") + plain(b"a.b") + entry(b"40000", b"a", CONFIG_ID), "corrupt"),
    "unsorted": (plain(b"b") + plain(b"a"), "corrupt"),
    "zero-padded": (entry(b"0100644", b"a", FILE_ID), "corrupt"),
    "zero-padded-folder": (entry(b"040000", b"a", CONFIG_ID), "corrupt"),
    "null-id": (entry(b"100644", b"a", bytes(20)), "corrupt"),
    "missing-blob": (entry(b"100644", b"a", b"\x12" * 20), "corrupt"),
    "missing-tree": (entry(b"40000", b"a", b"\x12" * 20), "corrupt"),
    "blob-as-tree": (entry(b"40000", b"a", FILE_ID), "corrupt"),
    "tree-as-blob": (entry(b"100644", b"a", CONFIG_ID), "corrupt"),
    "gitmodules-link": (entry(b"120000", b".gitmodules", LINK_ID), "corrupt"),
    "gitmodules-url": (entry(b"100644", b".gitmodules", object_id(BLOB, MODULES)), "corrupt"),
    "gitlink": (entry(b"160000", b"sub", b"\x12" * 20), "policy"),
    "link-out": (entry(b"120000", b"a", LINK_ID), "policy"),
    "control-character": (plain(b"a\x1b[2J"), "policy"),
    "new-line": (plain(b"a\nb"), "policy"),
    "protected": (plain(b"AGENTS.md"), "policy"),
    "case-clash": (plain(b"Case") + plain(b"case"), "policy"),
    "name-of-300-bytes": (plain(b"n" * 300), "policy"),
    "no-entry": (b"100644 a", "corrupt"),
}  # fmt: skip


def bombs() -> dict[str, tuple[bytes, bytes]]:
    """Small packs that stand for very much: one deflated blob, and deltas of deltas. name → (pack, tree id)."""
    zeros = bytes(64 * 2**10)
    zeros_id = object_id(BLOB, zeros)
    tree = entry(b"100644", b"a", zeros_id)
    start = [whole(BLOB, zeros), whole(TREE, tree)]
    size, times = len(zeros), 1024
    once = delta(zeros_id, size * times, copies(size, times), size)
    middle = hashlib.sha1(b"blob %d\0" % (size * times) + zeros * times).digest()
    twice = delta(middle, size * times * 200, copies(size, times * 200), size * times)
    lying = header(BLOB, 10) + zlib.compress(bytes(2**20))
    claims = header(BLOB, 2**40) + zlib.compress(b"x")
    deflated = header(BLOB, 200 * 2**20) + zlib.compress(bytes(200 * 2**20), 9)
    found = {
        "delta-bomb": [once, twice],
        "lying-size": [lying],
        "absurd-size": [claims],
        "deflate-bomb": [deflated],
    }
    return {
        name: (pack(start + parts), object_id(TREE, tree))
        for name, parts in found.items()
    }


def deep(levels: int, name: bytes = b"d") -> tuple[bytes, bytes]:
    """The pack and the tree of a file below that many folders."""
    trees = [plain(b"f")]
    for _ in range(levels):
        trees.append(entry(b"40000", name, object_id(TREE, trees[-1])))
    objects: list[Object] = [(BLOB, FILE), *((TREE, tree) for tree in trees)]
    packed = pack([whole(kind, data) for kind, data in objects])
    return packed, object_id(TREE, trees[-1])


def too_long() -> dict[str, tuple[bytes, bytes]]:
    """Paths that git takes and a file system does not, or that are deeper than programs
    that recurse can follow.
    """
    return {
        "600-folders": deep(600),
        "2500-folders": deep(2_500),
        "path-of-8000-bytes": deep(40, b"n" * 200),
    }


def broken() -> dict[str, tuple[bytes, bytes]]:
    tree = plain(b"a")
    good = pack([whole(BLOB, FILE), whole(TREE, tree)])
    tree_id = object_id(TREE, tree)
    return {
        "empty": (b"", tree_id),
        "no-pack": (b"#!/bin/sh\ntouch /tmp/owned\n", tree_id),
        "truncated": (good[: len(good) // 2], tree_id),
        "no-checksum": (good[:-20], tree_id),
        "wrong-checksum": (good[:-1] + bytes([good[-1] ^ 1]), tree_id),
        "trailing": (good + b"more", tree_id),
        "count-too-high": (
            pack([whole(BLOB, FILE), whole(TREE, tree)], count=2**32 - 1),
            tree_id,
        ),
        "count-too-low": (
            pack([whole(BLOB, FILE), whole(TREE, tree)], count=1),
            tree_id,
        ),
        "version-9": (good[:7] + b"\x09" + good[8:], tree_id),
        "another-tree": (good, b"\x34" * 20),
        "blob-as-result": (good, FILE_ID),
        "delta-of-nothing": (
            pack([delta(b"\x56" * 20, 9, copies(9, 1), 9), whole(TREE, tree)]),
            tree_id,
        ),
        "zip": (b"PK\x03\x04" + bytes(60), tree_id),
        "tar": (b"../../etc/passwd" + bytes(84) + b"0000644\0" + bytes(404), tree_id),
    }


DOCUMENTS: dict[str, str] = {
    "empty": "",
    "null": "null",
    "list": "[]",
    "deep": "[" * 5_000,
    "deep-object": '{"a":' * 4_000,
    "nan": '{"usage": {"cost_usd": NaN}, $REST}',
    "infinity": '{"usage": {"cost_usd": Infinity}, $REST}',
    "huge-number": '{"run_attempt": ' + "9" * 5_000 + ", $REST}",
    "huge-float": '{"usage": {"cost_usd": 1e999}, $REST}',
    "negative-cost": '{"usage": {"cost_usd": -5}, $REST}',
    "tokens-of-4300-digits": '{"usage": {"tokens": ' + "9" * 4_300 + "}, $REST}",
    "cost-near-infinity": '{"usage": {"cost_usd": 1.7e308}, $REST}',
    "text-as-number": '{"attempt": "1; rm -rf /", $REST}',
    "number-as-text": '{"started": 5, $REST}',
    "version-99": '{"version": 99, $REST}',
    "both": '{"failure": {"kind": "timeout", "message": "x"}, $REST}',
    "unknown-kind": '{"failure": {"kind": "great", "message": "x"}, "succeeded": false, $REST}',
    "pack-elsewhere": '{"pack": "../../../../etc/passwd", $REST}',
    "tree-is-option": '{"tree": "--upload-pack=x", "pack": "change.pack", $REST}',
    "tree-is-name": '{"tree": "HEAD", "pack": "change.pack", $REST}',
    "tree-without-pack": '{"tree": "1234567890123456789012345678901234567890", $REST}',
    "other-batch": '{"batch": "1.1", $REST}',
    "other-manifest": '{"manifest": "x", $REST}',
    "other-task": '{"task": "GOOD", $REST}',
    "other-attempt": '{"attempt": 2, $REST}',
    "other-base": '{"base": "1234567890123456789012345678901234567890", $REST}',
    "time-without-zone": '{"started": "2026-01-01T00:00:00", $REST}',
    "utf-16": "utf-16",
}


def refused_as(name: str) -> str:
    if name in TREES:
        return TREES[name][1]
    return "policy" if name in too_long() else "corrupt"


def main() -> None:
    told: dict[str, dict[str, str]] = {}
    found = {**bombs(), **broken(), **too_long()}
    for name, (data, _) in TREES.items():
        found[name] = (
            pack([whole(kind, body) for kind, body in [*COMMON, (TREE, data)]]),
            object_id(TREE, data),
        )
    for name, (data, tree) in found.items():
        (HERE / f"{name}.pack").write_bytes(data)
        told[name] = {
            "tree": tree.hex(),
            "refused": refused_as(name),
        }
    (HERE / "packs.json").write_text(json.dumps(told, indent=1, sort_keys=True) + "\n")
    (HERE / "documents.json").write_text(
        json.dumps(DOCUMENTS, indent=1, sort_keys=True) + "\n"
    )


if __name__ == "__main__":
    main()
