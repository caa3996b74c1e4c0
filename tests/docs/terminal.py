"""A reader at a terminal: one bash for all the blocks of a page, and a second one for what goes on running."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

from tests.docs.blocks import Block
from tests.docs.world import PATIENCE_SECONDS, READY, World, wait_for

EXAMPLE_ID = "exec-aabb1122-3344-5566-7788-99aabbccddee"
"""The execution of the guide's own examples; a reader puts in the last one that was printed."""


class Terminal:
    """A bash that keeps variables and folder from block to block."""

    def __init__(self, world: World, folder: Path, variables: dict[str, str]) -> None:
        self._world, self._folder, self._variables = world, folder, variables
        self._script = world.next_file("session.sh")
        self._script.write_text('while read -r next; do . "$next"; done\n')
        self._shell, self._log = world.start(self._script, folder, variables)
        self._last_id = EXAMPLE_ID
        self._other: subprocess.Popen[bytes] | None = None

    def run(self, block: Block) -> str:
        """What the block prints.  Raises AssertionError with all of it when it does not end as the page says."""
        text = block.text.replace(EXAMPLE_ID, self._last_id)
        if block.language == "python":
            text = f"python - <<'PROGRAM'\n{text}PROGRAM\n"
        if "another terminal" in block.notes:
            self._run_on(text)
            return ""
        code, printed = self._run(text, strict=not block.notes.keys() & {"exit", "repeat"})
        expected = int(block.notes.get("exit", "0"))
        assert code == expected or "repeat" in block.notes, (
            f"{block.place}: ended with {code}, not {expected}:\n{text}\n{printed}"
        )
        self._last_id = ([self._last_id, *re.findall(r"\bexec-[0-9a-f-]{36}\b", printed)])[-1]
        return printed

    def save(self, block: Block) -> None:
        """Puts the block into the file that its page names."""
        path = self._folder / block.notes["file"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text)

    def interrupt(self) -> None:
        """Ctrl-C in the other terminal, and its end."""
        assert self._other is not None, "nothing runs in another terminal"
        group = self._other.pid
        os.killpg(group, signal.SIGINT)
        self._other.wait(PATIENCE_SECONDS)
        self._other = None
        # The first process of the group may end before those that it has started.
        deadline = time.monotonic() + PATIENCE_SECONDS
        while _lives(group):
            assert time.monotonic() < deadline, "Ctrl-C did not end what runs in the other terminal"
            time.sleep(0.05)

    def _run(self, text: str, *, strict: bool) -> tuple[int, str]:
        block, printed, code = (self._world.next_file(kind) for kind in ("block.sh", "printed", "code"))
        block.write_text(text)
        # With -e a command that fails ends the shell, wherever it stands in the block; its code is then bash's own.
        flags = ("set -eo pipefail", "set +e +o pipefail") if strict else (":", ":")
        wrapped = self._world.next_file("wrapped.sh")
        wrapped.write_text(
            f"{flags[0]}\n. {block} >{printed} 2>&1 </dev/null\nended=$?\n{flags[1]}\n"
            f"echo $ended >{code}.part; mv {code}.part {code}\n"
        )
        assert self._shell.stdin is not None
        self._shell.stdin.write(f"{wrapped}\n".encode())
        self._shell.stdin.flush()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not code.exists():
            if self._shell.poll() is not None:
                return self._shell.returncode, _read(printed) + _read(self._log)
            assert time.monotonic() < deadline, f"it hangs:\n{text}\n{_read(printed)}"
            time.sleep(0.02)
        return int(code.read_text()), _read(printed)

    def _run_on(self, text: str) -> None:
        script = self._world.next_file("other.sh")
        script.write_text(f"[ ! -e .venv/bin/activate ] || . .venv/bin/activate\n{text}")
        self._other, log = self._world.start(script, self._folder, self._variables)
        wait_for(log, READY[0], self._other)


def _lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _read(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""
