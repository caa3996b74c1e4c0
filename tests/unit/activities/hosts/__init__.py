"""Actions on hosts, against real ones."""
