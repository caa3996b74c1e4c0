"""``python -m cli.work``: a worker that first makes its database and its namespace what they must be.

For the embedded installation: a process of its own for the preparation would load Temporal's library once more, which
takes a second on a small machine.
"""

from __future__ import annotations

from cli.prepare import main as prepare


def main() -> None:
    """Prepares, then works until SIGTERM or SIGINT."""
    prepare([])
    import worker

    worker.main()


if __name__ == "__main__":
    main()
