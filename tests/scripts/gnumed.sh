#!/usr/bin/env bash
# Dumps the database of GNUmed, a medical record that others designed over twenty years: 13 schemas, 265 tables, inheritance,
# hundreds of triggers and functions. Debian's package of its server is fetched and bootstraps it, untouched.
#
# Usage: gnumed.sh OUTPUT     PGHOST and PGPORT name a PostgreSQL 15 whose superuser postgres needs no password.
# Exit code 3: it cannot be had on this machine.
set -euo pipefail
output=$(realpath -m "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

unavailable() {
    echo "$1" >&2
    exit 3
}
command -v apt-get >/dev/null || unavailable "no apt-get to fetch GNUmed with"
/usr/bin/python3 -c 'import psycopg2' 2>/dev/null \
    || { [ "$(id -u)" = 0 ] && apt-get install -qq -y --no-install-recommends python3-psycopg2 >/dev/null 2>&1; } \
    || unavailable "GNUmed's bootstrapper needs python3-psycopg2"

chmod 755 "$work"
cd "$work"
apt-get download -qq gnumed-server 2>/dev/null || unavailable "the package gnumed-server cannot be fetched"
dpkg -x gnumed-server_*.deb package
mkdir Gnumed
cp -r package/var/lib/gnumed/server/. Gnumed/
touch Gnumed/__init__.py
cd Gnumed/bootstrap
export PGUSER=postgres GM_DB_PORT=$PGPORT PYTHONPATH=$work LC_ALL=C.UTF-8
/usr/bin/python3 ./bootstrap_gm_db_system.py --quiet --log-file="$work/log" --conf-file=bootstrap-latest.conf >"$work/out" \
    || { tail -n 20 "$work/out" "$work/log" >&2; exit 1; }
pg_dump -Fc --no-owner --no-acl -f "$output.part" gnumed_v22
mv "$output.part" "$output"
