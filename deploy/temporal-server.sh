#!/bin/sh
# Starts Temporal with the password of its database from a file: the image takes it from a variable only.
set -eu
: "${POSTGRES_PWD_FILE:?}"
POSTGRES_PWD="$(cat "$POSTGRES_PWD_FILE")"
export POSTGRES_PWD
# What listens everywhere must tell the others one address.
if [ -z "${TEMPORAL_BROADCAST_ADDRESS:-}" ]; then
    TEMPORAL_BROADCAST_ADDRESS="$(getent hosts "$(hostname)" | awk '{print $1; exit}')"
    export TEMPORAL_BROADCAST_ADDRESS
fi
exec temporal-server start
