#!/usr/bin/env bash
# Installs PostgreSQL's server and client programs on Debian or Ubuntu where they are missing.
#
# The system gets the programs alone: no cluster is made, and one that exists is neither touched nor started.
set -euo pipefail

have_postgres() {
    local directory major
    for directory in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin; do
        major=${directory%/bin}
        major=${major##*[/-]}
        if [ -x "$directory/postgres" ] && [ "$major" -ge 14 ] && [ "$major" -le 18 ]; then
            return 0
        fi
    done
    return 1
}

have_clients() {
    command -v psql >/dev/null && command -v pg_dump >/dev/null && command -v pgbench >/dev/null
}

if have_postgres && have_clients; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "PostgreSQL 14 to 18 (server, psql, pg_dump, pgbench) is missing, and only apt-get is known here: install it" >&2
    exit 1
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "PostgreSQL is missing, and installing it needs root or sudo" >&2
        exit 1
    fi
    as_root=(sudo)
fi
install() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@"
}

echo "installing PostgreSQL's programs"
"${as_root[@]}" apt-get update --quiet
if ! dpkg --status postgresql-common >/dev/null 2>&1; then
    # The server package makes and starts a cluster "main" unless told otherwise; the setting goes back afterwards.
    install postgresql-common
    settings=/etc/postgresql-common/createcluster.conf
    original=$(mktemp)
    cp "$settings" "$original"
    restore() {
        "${as_root[@]}" cp "$original" "$settings"
        rm -f "$original"
    }
    trap restore EXIT
    "${as_root[@]}" sed -i 's/^#* *create_main_cluster *=.*/create_main_cluster = false/' "$settings"
fi
install postgresql postgresql-client
