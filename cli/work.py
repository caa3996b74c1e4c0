"""``python -m cli.work``: a worker that first makes its database and its namespace what they must be.

For the embedded installation.  What only the preparation needs (Alembic, a connection of its own) goes away with the
copy of this process that prepares; a process started for it would load Temporal's library anew, which takes a second on
a small machine.
"""

from __future__ import annotations

import os
import sys
from functools import partial

import worker
from cli.prepare import main as prepare
from engine.processes import bind_to_parent, run_and_leave


def main() -> None:
    """Prepares, then works until SIGTERM or SIGINT."""
    if sys.platform == "linux":
        _prepare_apart()
    else:
        prepare([])
    worker.main()


def _prepare_apart() -> None:
    """Prepares in a copy of this process, which has no thread yet; ends as that one does where it fails."""
    parent = os.getpid()
    copy = os.fork()
    if copy == 0:
        bind_to_parent(parent)
        run_and_leave(partial(prepare, []))
    code = os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1])
    if code != 0:
        sys.exit(code if code > 0 else 1)


if __name__ == "__main__":
    main()
