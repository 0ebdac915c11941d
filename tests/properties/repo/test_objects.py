"""Properties of repo.objects, over generated inputs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import quick
from tests.support.object_store import REGULAR, Store

names = st.sampled_from(["a", "b", "a.b", "ä"])


paths = st.lists(names, min_size=1, max_size=3).map("/".join)


def without_clashes(files: dict[str, str]) -> dict[str, str]:
    """The files whose folders are not files themselves."""
    return {
        p: t
        for p, t in files.items()
        if not any(p.startswith(f"{other}/") for other in files)
    }


@given(
    st.dictionaries(paths, st.sampled_from("xyz")),
    st.dictionaries(paths, st.sampled_from(["x", "w", None])),
)
@quick
def test_an_edited_tree_is_the_one_that_git_makes_of_the_same_files(
    tmp_path_factory: pytest.TempPathFactory,
    before: dict[str, str],
    changes: dict[str, str | None],
) -> None:
    where = tmp_path_factory.getbasetemp() / "objects.git"
    where.mkdir(exist_ok=True)
    store = Store(where)
    before = without_clashes(before)
    added = without_clashes(
        {path: text for path, text in changes.items() if text is not None}
    )
    changes = {
        path: text for path, text in changes.items() if text is None or path in added
    }
    # A path that is added may be a folder or a file in the way of an old one.
    replaced = {
        p
        for p in before
        if any(a.startswith(f"{p}/") or p.startswith(f"{a}/") for a in added)
    }
    changes |= dict.fromkeys(replaced - added.keys())
    after = {p: t for p, t in before.items() if p not in changes} | added
    blobs = {
        path: None if text is None else (REGULAR, store.blob(text))
        for path, text in changes.items()
    }
    assert store.objects.edited(store.tree(before), blobs) == store.tree(after)
