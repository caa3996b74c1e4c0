"""The actions, one module a family, and their catalogue."""
