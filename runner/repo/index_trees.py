"""Reads an index without a process: all of a small one, of a large one a few entries and
its own record of its tree.

The format is that of Documentation/gitformat-index: a header, then entries that are padded
to eight bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from runner.core.patterns import lazy_pattern
from runner.repo.objects import FOLDER, Entries, Entry, encode_tree, object_id_of

# Bytes, of about two thousand files. For more, git is faster.
MAX_INDEX = 2**18
# Bytes of a large index that are searched for new files. For more, git is faster.
_MAX_SEARCHED = 2**24
_HEADER = b"DIRC\0\0\0\2"
_MODE, _ID = 24, 40  # where an entry has its mode and its object id
_STAGE_OR_EXTENDED, _NAME_LENGTH = 0x7000, 0xFFF  # bits of its flags
_SPARSE_FOLDER = 0o40000
# The extensions of an index that is split, or has folders in place of their files.
_INCOMPLETE = (b"link\0", b"sdir\0\0\0\0")
_TREE = b"TREE"  # the extension with the trees that git has written of the index
# of its first entry, the whole index: no path, the number of files, that of folders
_WHOLE = lazy_pattern(rb"\0([0-9]+) [0-9]+\n")


def read_index(data: bytes, algorithm: str) -> Entries | None:
    """The path of each file in an index → mode and object id.

    None if git should be asked: it is large, of another version, or not merged.
    """
    end = len(data) - hashlib.new(algorithm, usedforsecurity=False).digest_size
    id_length = len(data) - end
    if len(data) > MAX_INDEX or not data.startswith(_HEADER):
        return None
    entries: Entries = {}
    start = 12
    for _ in range(int.from_bytes(data[8:12], "big")):
        name = start + _ID + id_length + 2
        if name > end:
            return None
        flags = int.from_bytes(data[name - 2 : name], "big")
        mode = int.from_bytes(data[start + _MODE : start + _MODE + 4], "big")
        length = flags & _NAME_LENGTH
        if flags & _STAGE_OR_EXTENDED or mode == _SPARSE_FOLDER:
            return None
        if length == _NAME_LENGTH:  # that long or longer
            return None
        object_id = data[start + _ID : start + _ID + id_length].hex()
        entries[data[name : name + length]] = (f"{mode:o}", object_id)
        start += (name - start + length + 8) // 8 * 8
    return entries


def has_entries(
    data: bytes, algorithm: str, expected: Mapping[bytes, Entry | None]
) -> bool:
    """Whether the index has just these entries at these paths, None for no entry. False
    also if git should be asked.
    """
    if len(data) <= MAX_INDEX:
        entries = read_index(data, algorithm)
        if entries is None:
            return False
        return all(entries.get(path) == entry for path, entry in expected.items())
    if not data.startswith(_HEADER):
        return False
    new = [path for path, entry in expected.items() if entry is None]
    if len(new) * len(data) > _MAX_SEARCHED or not _are_absent(data, new):
        return False
    start = 12
    # an index is in this order
    for path, entry in sorted(expected.items()):
        if entry is not None:
            end = _end_of_entry(data, start, path, entry)
            if end is None:
                return False
            start = end
    return True


def _are_absent(data: bytes, paths: Sequence[bytes]) -> bool:
    """Whether a large index surely has none of the paths, at no stage of a merge."""
    if paths and any(extension in data for extension in _INCOMPLETE):
        return False
    return not any(path + b"\0" in data for path in paths)


def _end_of_entry(data: bytes, start: int, path: bytes, entry: Entry) -> int | None:
    """Where the path ends in the entry; None if a large index has no such entry without
    flags behind `start`.
    """
    mode, object_id = entry
    if len(path) >= _NAME_LENGTH:
        return None
    text = bytes.fromhex(object_id) + len(path).to_bytes(2, "big") + path + b"\0"
    found = data.find(text, start)
    if found < 0:
        return None
    # The text may be in the name of another file, but a mode has zeros, which no name has.
    begin = found - _ID + _MODE
    if data[begin : begin + 4] != int(mode, 8).to_bytes(4, "big"):
        return None
    return found + len(text)


def recorded_tree(data: bytes, algorithm: str) -> str | None:
    """The id of the tree with all files of the index, as the index itself has it; None
    if it has none.
    """
    id_length = hashlib.new(algorithm, usedforsecurity=False).digest_size
    end = len(data) - id_length
    if not data.startswith(_HEADER):
        return None
    # The entries before it are not read, which takes longest in a large index.
    start = data.rfind(_TREE, 0, end)
    while start >= 0:
        whole = _WHOLE().match(data, start + 8)
        # git writes -1 for the number of files once one has changed
        is_valid = whole and int(whole[1]) == number_of_entries(data)
        if whole and is_valid and _are_extensions(data, start, end):
            return data[whole.end() : whole.end() + id_length].hex()
        start = data.rfind(_TREE, 0, start)
    return None


def _are_extensions(data: bytes, start: int, end: int) -> bool:
    """Whether the data is nothing but extensions: a name, a length, so many bytes."""
    while start < end:
        start += 8 + int.from_bytes(data[start + 4 : start + 8], "big")
    return start == end


def number_of_entries(data: bytes) -> int:
    """How many entries the index has."""
    return int.from_bytes(data[8:12], "big")


def make_trees(files: Entries, algorithm: str) -> tuple[str, dict[str, bytes]]:
    """The id of the tree with these files, by their paths; and id → content of it and of
    all trees below it.
    """
    folders: dict[bytes, Entries] = {b"": {}}
    for path, entry in files.items():
        folder, _, name = path.rpartition(b"/")
        _make_folder(folders, folder)[name] = entry
    trees: dict[str, bytes] = {}
    root = ""
    # the deepest first: a folder holds the ids of those below it
    for folder in sorted(folders, key=_depth, reverse=True):
        data = encode_tree(folders[folder])
        root = object_id_of("tree", data, algorithm)
        trees[root] = data
        if folder:
            parent, _, name = folder.rpartition(b"/")
            folders[parent][name] = (FOLDER, root)
    return root, trees


def _make_folder(folders: dict[bytes, Entries], folder: bytes) -> Entries:
    """The entries of the folder, which is there afterwards with those above it."""
    missing = folder
    while missing not in folders:
        folders[missing] = {}
        missing = missing.rpartition(b"/")[0]
    return folders[folder]


def _depth(folder: bytes) -> int:
    return folder.count(b"/") + 1 if folder else 0
