"""Comparing what is with what a policy asks for."""
