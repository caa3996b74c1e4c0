#!/bin/sh
# Writes secrets for docker-compose.yml: a secret of its own for everything that must not have a default.
#
#   deploy/make-secrets.sh [FOLDER [NAME]]
#
# NAME is the host name in the certificate, which nobody but itself has signed: replace tls_certificate and tls_key by
# those that your users' browsers trust.  Keep a copy of encryption_key: without it runs under way cannot be read again.
set -eu
folder="${1:-secrets}"
name="${2:-localhost}"
umask 077
# Nobody but the owner may enter the folder; a container sees single files of it, under a user of its own.
mkdir "$folder" || { echo "$folder is there already, and its key must not be replaced." >&2; exit 1; }
secret() {
    head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'
}
write() {
    printf '%s' "$2" >"$folder/$1"
}
password="$(secret)"
write postgres_password "$(secret)"
write database_password "$password"
write temporal_database_password "$(secret)"
write database_url "postgresql+psycopg://stanchion:$password@postgres:5432/stanchion"
write admin_token "stn_$(secret)"
write encryption_key "$(head -c 32 /dev/urandom | base64 | tr -d '\n')"
write grafana_password "$(secret)"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 825 -subj "/CN=$name" \
    -addext "subjectAltName=DNS:$name" -keyout "$folder/tls_key" -out "$folder/tls_certificate" 2>/dev/null
chmod 0444 "$folder"/*
echo "$folder has been written; admin_token is the first token."
