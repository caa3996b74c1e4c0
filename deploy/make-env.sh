#!/bin/sh
# Writes .env for docker-compose.yml: a secret of its own for everything that must not have a default.
set -eu
file="${1:-.env}"
umask 077
secret() {
    head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'
}
# noclobber: a second run must never replace the key that stored runs were encrypted with.
set -C
cat >"$file" <<ENV
# Read by docker compose.  Keep a copy of STANCHION_ENCRYPTION_KEY: without it runs under way cannot be read again.
POSTGRES_PASSWORD=$(secret)
DATABASE_PASSWORD=$(secret)
TEMPORAL_DATABASE_PASSWORD=$(secret)
STANCHION_ADMIN_TOKEN=stn_$(secret)
STANCHION_ENCRYPTION_KEY=$(head -c 32 /dev/urandom | base64 | tr -d '\n')
ENV
echo "$file has been written; the admin token is in it."
