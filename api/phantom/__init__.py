"""The second interface, for clients of Splunk Phantom 4.8 to 4.10.7 (API.md §2): another face of the same engine."""
