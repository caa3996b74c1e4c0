"""Policies: baselines of named rules, and what a system's facts say to them."""
