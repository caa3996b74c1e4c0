"""The ``know`` family: what is known of vulnerabilities, assets, names and networks."""
