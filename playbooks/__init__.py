"""What a playbook is: definition, parameters, expressions, plan, states.  Pure: no I/O, no clock."""
