#!/bin/sh
# Creates the namespace where it is missing.  Its retention and search attributes are set by `stanchion migrate`.
set -eu
: "${TEMPORAL_ADDRESS:?}" "${TEMPORAL_NAMESPACE:?}"

# An open port does not mean that the frontend serves.
tries=60
until temporal operator cluster health --address "$TEMPORAL_ADDRESS"; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || exit 1
    sleep 1
done
describe() {
    temporal operator namespace describe --address "$TEMPORAL_ADDRESS" --namespace "$TEMPORAL_NAMESPACE" >/dev/null 2>&1
}
# Two that create it at once are both content, whoever was first.
describe || temporal operator namespace create --address "$TEMPORAL_ADDRESS" --namespace "$TEMPORAL_NAMESPACE" || describe
