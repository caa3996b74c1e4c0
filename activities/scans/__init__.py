"""Actions that look: at ports, at a host's hardening, at what other scanners have found."""
