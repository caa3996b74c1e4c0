"""The resources of the interface, over HTTP."""
