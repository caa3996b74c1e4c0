"""The console: pages for people, over the same interface as for programs."""
