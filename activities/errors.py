"""The one way in which an action fails.

::

    Exception
    ├── ActionError        an answer of the action: it did not work, and here is why
    └── CatalogueError     an action that must not be offered (``activities.catalogue``)

What each shared code means to an operator stands in ``activities.error_advice``.

Codes of the runner: ``invalid_call``, ``invalid_input``, ``unknown_action``, ``unknown_secret``,
``secrets_unavailable``, ``timed_out``, ``output_too_large``, ``internal``.

Of whatever opens a connection: ``egress_refused``, ``invalid_url``,
``resolve_failed``, ``connect_failed``, ``connection_lost``, ``tls_failed``, ``too_many_redirects``,
``response_too_large``, ``unsupported_encoding``, ``timed_out``.  Of single actions: ``failed`` (core.fail),
``unexpected_status`` (http.request), ``slack_refused`` (notify.slack), ``unexpected_exit_code``,
``output_limit``, ``sandbox_missing``, ``sandbox_failed`` and ``interpreter_missing`` (script.run).

Of whatever speaks to a service over HTTP (``activities.rest``): ``unauthorized``, ``forbidden``, ``not_found``,
``rate_limited``, ``service_failed``, ``refused``, ``bad_answer``; of ``notify.send`` by Apprise ``apprise_missing``,
``apprise_refused``, ``apprise_failed``.

Of ``email.send``: ``starttls_not_offered``, ``login_not_offered``, ``login_refused``, ``sender_refused``,
``recipients_refused``, ``address_not_supported``, ``message_too_large``, ``mail_deferred``, ``mail_refused``,
``outcome_unknown``.

Of ``ticket.create`` and ``ticket.close``, beside those of a service: ``unknown_assignee``, ``no_transition``.

Of whatever works on a host over SSH: ``host_key_unknown``, ``host_key_changed``, ``login_refused``,
``no_credentials``, ``invalid_key``, ``ssh_failed``, ``sudo_refused``, ``output_limit``, ``unexpected_exit_code``,
``store_unavailable``.

Of ``report.render``: ``template_failed``, ``report_too_large``, ``report_too_slow``, ``pdf_missing``,
``renderer_failed``.

Of the scans: ``scanner_missing``, ``scan_failed``, ``too_many_targets``, ``invalid_report``.

Of what looks things up (``activities.know``): ``no_store``, ``store_unavailable``.

Of whatever keeps or reads an artifact: ``invalid_artifact``, ``artifact_too_large``, ``artifact_exists``,
``artifact_refused``, ``unknown_artifact``, ``no_store``, ``store_unavailable``.
"""

from __future__ import annotations


class ActionError(Exception):
    """An action did not succeed.

    ``code`` is stable and lower case with underscores; playbooks and clients test it.  ``message`` is one sentence
    for an operator.  ``retryable`` tells whether the same call may well succeed later.  ``retry_after``: seconds that
    the other side asked to be left alone.
    """

    def __init__(self, code: str, message: str, retryable: bool = True, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class CatalogueError(Exception):
    """An action breaks a rule of the catalogue; the message names the action and the rule."""
