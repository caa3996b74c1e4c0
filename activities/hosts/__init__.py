"""What is done on a host that is reached over SSH: commands, files, packages, services, the firewall.

``target`` says which host and as whom, ``connection`` opens the one way to it, every other module is an action.
"""
