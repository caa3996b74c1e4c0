#!/bin/sh
# Brings Temporal's two databases to the schema of this version of admin-tools; repeating it changes nothing.
# temporal-sql-tool takes address, user and password from SQL_… variables of the environment.
set -eu
: "${SQL_PLUGIN:?}" "${SQL_HOST:?}" "${SQL_PORT:?}" "${SQL_USER:?}" "${SQL_PASSWORD_FILE:?}"
SQL_PASSWORD="$(cat "$SQL_PASSWORD_FILE")"
export SQL_PASSWORD
schemas=/etc/temporal/schema/postgresql/v12

upgrade() {
    temporal-sql-tool --database "$1" setup-schema -v 0.0
    temporal-sql-tool --database "$1" update-schema -d "$schemas/$2/versioned"
}

upgrade temporal temporal
upgrade temporal_visibility visibility
