"""Fails where docs/actions.md or docs/actions/ differ from the actions: an action is landed with its page."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from scripts.action_pages import main

if __name__ == "__main__":
    sys.exit(main(["--check"]))
