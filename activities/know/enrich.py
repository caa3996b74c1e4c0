"""``finding.enrich``: what is known of vulnerabilities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from activities.action import Action, ActionContext, ActionError, Rehearsal
from activities.know.enrichment import MOST_CVES, EnrichInput, Enrichment, enrichment
from activities.stores import Intelligence
from playbooks.record import Json


class FindingEnrich(Action[EnrichInput, Enrichment]):
    """Says of CVEs how bad they are (CVSS), whether they are exploited (CISA KEV) and how likely that is (EPSS).

    It reads what `stanchion intel sync` has stored and asks nobody else. A CVE that no source knows is listed as
    unknown; that is no failure. Scores are computed from the vectors. `sources` says of when the figures are.
    """

    name = "finding.enrich"
    title = "Enrich a finding"
    Input = EnrichInput
    Output = Enrichment
    safe = idempotent = quick = True
    errors: ClassVar[Mapping[str, str]] = {
        "no_store": "This worker has no database with intelligence.",
        "store_unavailable": "The database cannot be read now; worth a retry.",
    }
    example: ClassVar[Mapping[str, Json]] = {"cves": ["CVE-2021-44228"], "text": "{{ parameters.finding }}"}

    async def run(self, inputs: EnrichInput, context: ActionContext) -> Enrichment:
        """Look them up.  Raises ``ActionError``: the codes of ``errors``."""
        asked = inputs.wanted()[:MOST_CVES]
        if not asked:
            return enrichment(inputs, [], Intelligence())
        if context.stores.intel is None:
            raise ActionError("no_store", "This worker has no database with intelligence.", retryable=False)
        return enrichment(inputs, asked, await context.stores.intel.look_up(asked))

    async def rehearse(self, inputs: EnrichInput, context: ActionContext) -> Rehearsal:
        """Say what would be looked up, and rate what needs no database."""
        asked = inputs.wanted()[:MOST_CVES]
        named = ", ".join(asked[:3]) + (f" and {len(asked) - 3} more" if len(asked) > 3 else "")
        output = None if asked else enrichment(inputs, [], Intelligence())
        return Rehearsal(f"Would look up {named or 'nothing'} in the stored intelligence.", output=output)
