"""What the codes mean that many actions share, and what an operator does about each: for the actions' pages."""

from __future__ import annotations

from collections.abc import Mapping

RUNNER_ERRORS: Mapping[str, str] = {
    "invalid_input": "A parameter, once its templates are filled in, is not what the action takes; the message names "
    "it. Mend the playbook, or what it was given.",
    "unknown_action": "The worker has no such action: install its package on every worker, and restart them.",
    "unknown_secret": "The worker finds a secret in none of its places, which the message names: set it there.",
    "secrets_unavailable": "A place of secrets cannot be asked: look after the database, the folder or Vault.",
    "timed_out": "The action, or what it waits for, was not done in time. Look at the other side; give the step a "
    "longer `timeout`, or the action a longer one of its own.",
    "outcome_unknown": "The worker vanished in the middle of an action that must not be repeated. Look at the other "
    "side whether it was done, then run the playbook again.",
    "output_too_large": "The result has more than 32 MiB, or more than 100 levels of lists and objects: ask for less.",
    "internal": "The action has a fault; the worker's log has the whole of it. Report it to whoever made the action.",
    "invalid_call": "API and worker are not of the same version: bring both to the same one.",
}
"""Codes that a step of any action can fail with."""

CONNECTION_ERRORS: Mapping[str, str] = {
    "egress_refused": "The address is private, or no real one. If it is meant, open it with `STANCHION_EGRESS_ALLOW`.",
    "resolve_failed": "The name has no address: check its spelling, and the worker's name server.",
    "connect_failed": "Nothing listens there, or a firewall is in between: check host and port. Worth a retry.",
    "connection_lost": "The other side hung up before it was done. Worth a retry.",
    "tls_failed": "The certificate does not hold, or TLS could not be agreed on. Have its authority trusted on the "
    "worker (`SSL_CERT_FILE`), or have the certificate mended.",
    "timed_out": "No answer in time: the other side hangs, or a firewall swallows what is sent. Worth a retry.",
}
"""Codes of whatever opens a connection."""

HTTP_ERRORS: Mapping[str, str] = {
    **CONNECTION_ERRORS,
    "invalid_url": "The URL is none that can be called: http or https, a host, no user and password.",
    "too_many_redirects": "More than 5 redirects: name the address where they end.",
    "response_too_large": "The answer is larger than what is read: ask for less.",
    "unsupported_encoding": "The answer is compressed in a way that was not asked for, or its compression is broken.",
}
"""Codes of whatever speaks HTTP."""

SSH_ERRORS: Mapping[str, str] = {
    **{code: meaning for code, meaning in CONNECTION_ERRORS.items() if code != "tls_failed"},
    "host_key_unknown": "Nobody has trusted the host's key. Compare it on the host, then `stanchion host trust`.",
    "host_key_changed": "The host shows another key than the trusted one: set up anew, or somebody sits in between. "
    "Find out which; then `stanchion host trust --replace`.",
    "store_unavailable": "The database with the trusted host keys cannot be read now; worth a retry.",
    "login_refused": "The host refuses the user with this key or password: check `authorized_keys` and the user.",
    "no_credentials": "Neither a private key nor a password is given.",
    "invalid_key": "The private key is damaged, or its passphrase is wrong or missing.",
    "ssh_failed": "The two sides cannot agree on SSH; the message says on what.",
    "shell_missing": "The account has no POSIX shell there.",
    "sudo_refused": "sudo asks for a password, or forbids it: the user needs `NOPASSWD` in sudoers.",
    "output_limit": "The command wrote more than is read, and was killed: have it write less.",
}
"""Codes of whatever works on a host over SSH."""

TO_DO: Mapping[str, str] = {
    "egress_refused": "Is it meant, open it with STANCHION_EGRESS_ALLOW on the worker.",
    "resolve_failed": "Check the name's spelling, and the worker's name server.",
    "connect_failed": "Check host and port, whether the service runs, and the firewalls in between.",
    "connection_lost": "Look into the other side's log, and try again.",
    "tls_failed": "Have the certificate mended, or its authority trusted on the worker (SSL_CERT_FILE).",
    "timed_out": "Look whether the other side hangs, or a firewall swallows what is sent; or give the step more time.",
    "response_too_large": "Check the address, or ask for less.",
    "unexpected_status": "Look up at the service what this status means, or name it in expect_status.",
    "unauthorized": "Check the token or key, and renew it where it has expired.",
    "forbidden": "Give the token or key the right to do this.",
    "service_failed": "Look into the service's log, and try again.",
    "slack_refused": "Check the webhook in Slack, and make a new one where it was removed.",
    "bad_answer": "Check the address: something else answers there.",
    "apprise_failed": "Check the URL, and the service that it names.",
    "dns_failed": "Look at the name server, or ask another one.",
    "dns_refused": "Ask a name server that serves this worker.",
    "login_refused": "Check the user, and the key or password.",
    "sender_refused": "Check the sender, and what the mail server's log says of it.",
    "host_key_changed": "Find out why before anything else is done on this host.",
    "host_key_unknown": "Compare it with the key on the host before it is trusted.",
    "ssh_failed": "Check that an SSH server listens at this port.",
    "shell_missing": "Give the account a POSIX shell, or use another account.",
    "sftp_missing": "Offer SFTP to this account (Subsystem sftp), or use another account.",
    "output_limit": "Have it write less.",
    "task_failed": "Look at the host and at the task, and run it again.",
}
"""What an operator does about a code, as the last sentence of the message of a step that fails with it."""


def with_advice(code: str, message: str) -> str:
    """``message`` of a step that fails with ``code``, and what an operator does about it, where that is known."""
    advice = TO_DO.get(code)
    if advice is None:
        return message
    return f"{message.rstrip()}{'' if message.rstrip().endswith(('.', '!', '?')) else '.'} {advice}"
