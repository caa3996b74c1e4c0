#!/bin/sh
# Install the Debian packages that the tests need: a Postgres to run against, and bubblewrap for script.run,
# curl for the commands of the Phantom document, sshd and sudo for the hosts of tests, Pango and Poppler for reports
# as PDF, the scanners that scan.ports and scan.host call and one whose results scan.import reads; iproute2, nftables
# and faketime for the failure matrix; a browser for the console; rpm, dnf and createrepo-c for a host of RPM packages,
# systemd and dbus for one with services; Prometheus for the alerts and the dashboard; Node.js and npm for the client in
# TypeScript; Caddy and nginx, the proxies of docker-compose.yml and of how to deploy.
set -eu

missing=""
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || missing="postgresql"
command -v bwrap >/dev/null || missing="$missing bubblewrap"
command -v chromium >/dev/null || missing="$missing chromium"
command -v curl >/dev/null || missing="$missing curl"
command -v nginx >/dev/null || missing="$missing nginx-light"
command -v nmap >/dev/null || missing="$missing nmap"
command -v lynis >/dev/null || missing="$missing lynis"
command -v oscap >/dev/null || missing="$missing openscap-scanner"
command -v ip >/dev/null || missing="$missing iproute2"
command -v nft >/dev/null || missing="$missing nftables"
ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || missing="$missing faketime"
command -v caddy >/dev/null || missing="$missing caddy"
command -v promtool >/dev/null || missing="$missing prometheus"
command -v setpriv >/dev/null || missing="$missing util-linux"
command -v node >/dev/null || missing="$missing nodejs"
command -v npm >/dev/null || missing="$missing npm"
[ -x /usr/sbin/sshd ] || missing="$missing openssh-server"
command -v ssh >/dev/null || missing="$missing openssh-client"
[ -x /lib/systemd/systemd ] || missing="$missing systemd"
command -v dbus-daemon >/dev/null || missing="$missing dbus"
command -v sudo >/dev/null || missing="$missing sudo"
command -v dnf >/dev/null || missing="$missing dnf"
command -v rpmbuild >/dev/null || missing="$missing rpm"
command -v createrepo_c >/dev/null || missing="$missing createrepo-c"
command -v pdftotext >/dev/null || missing="$missing poppler-utils"
ls /usr/lib/*/libpangoft2-1.0.so.0 >/dev/null 2>&1 || missing="$missing libpangoft2-1.0-0"
ls /usr/lib/*/libharfbuzz-subset.so.0 >/dev/null 2>&1 || missing="$missing libharfbuzz-subset0"
fc-list 2>/dev/null | grep -q . || missing="$missing fontconfig fonts-dejavu-core"
[ -n "$missing" ] || exit 0

as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo"
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -q
# Without this the package would create and start a server of its own.
$as_root mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] ||
    echo "create_main_cluster = false" | $as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
# shellcheck disable=SC2086
$as_root apt-get install -q -y --no-install-recommends $missing
