"""The one interpreter that Temporal replays.  Deterministic; imports ``playbooks`` only."""
