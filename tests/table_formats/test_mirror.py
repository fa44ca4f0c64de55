"""The copy of a table's log lives as long as the process that made it wants it."""

from __future__ import annotations

import threading

from forked import in_child
from nocturne.table_formats.delta.mirror import _Folder


def test_a_forked_process_leaves_it_alone() -> None:
    """As when the JVM is started: the child has none of the other threads, nor what is theirs."""
    own, made, end = threading.local(), threading.Event(), threading.Event()
    paths = []

    def work() -> None:
        own.folder = _Folder()
        paths.append(own.folder.path)
        made.set()
        end.wait()

    thread = threading.Thread(target=work)
    thread.start()
    made.wait()
    try:
        in_child(lambda: None)
        assert paths[0].is_dir()
    finally:
        end.set()
        thread.join()
    assert not paths[0].exists(), "it goes with its thread"
