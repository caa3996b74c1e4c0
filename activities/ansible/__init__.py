"""``ansible.playbook``: Ansible on one host, in a sandbox whose only way out is an SSH connection that was judged.

``action`` is the action, ``process`` runs the sandbox, ``relay`` is the way out, ``program`` is what runs inside.
"""
