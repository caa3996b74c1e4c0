"""The playbooks that ship with Stanchion, as YAML."""
