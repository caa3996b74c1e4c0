#!/bin/sh
# Runs once, when Postgres makes its data folder: two owners that cannot read each other's databases.
# temporal-sql-tool could create Temporal's databases itself, but only as a role that may create any.
set -eu
: "${DATABASE_PASSWORD_FILE:?}" "${TEMPORAL_DATABASE_PASSWORD_FILE:?}"
DATABASE_PASSWORD="$(cat "$DATABASE_PASSWORD_FILE")"
TEMPORAL_DATABASE_PASSWORD="$(cat "$TEMPORAL_DATABASE_PASSWORD_FILE")"
export DATABASE_PASSWORD TEMPORAL_DATABASE_PASSWORD

# The passwords come from psql's own \getenv: on its command line any process could read them.
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
\getenv stanchion_password DATABASE_PASSWORD
\getenv temporal_password TEMPORAL_DATABASE_PASSWORD
CREATE ROLE stanchion LOGIN PASSWORD :'stanchion_password';
CREATE ROLE temporal LOGIN PASSWORD :'temporal_password';
CREATE DATABASE stanchion OWNER stanchion TEMPLATE template0 ENCODING 'UTF8';
CREATE DATABASE temporal OWNER temporal TEMPLATE template0 ENCODING 'UTF8';
CREATE DATABASE temporal_visibility OWNER temporal TEMPLATE template0 ENCODING 'UTF8';
REVOKE CONNECT ON DATABASE stanchion, temporal, temporal_visibility FROM PUBLIC;
SQL
