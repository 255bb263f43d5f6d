#!/usr/bin/env bash
# Strait at work: two PostgreSQL servers of the demo's own, a million rows, a shop that keeps trading, and the three
# processes that bring every row and every change across. Ends by itself, with 0 only if both sides hold the same rows.
#
#   run.sh DIRECTORY_OF_THE_PROGRAMS
#
# Everything lives in one temporary directory and on free ports of loopback; all of it goes away at the end.
set -euo pipefail

programs=$(cd "${1:?the directory of the programs}" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
# Seconds of trade that are watched once the copy is done.
readonly live_seconds=${STRAIT_DEMO_SECONDS:-20}
PATH=$programs:$PATH

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
fail() {
    printf '\nThe demo failed: %s\n' "$*" >&2
    exit 1
}

# --- The servers ---------------------------------------------------------------------------------------------------

newest_postgres() {
    local major directory
    for major in 18 17 16 15 14; do
        for directory in "/usr/lib/postgresql/$major/bin" "/usr/pgsql-$major/bin"; do
            if [ -x "$directory/postgres" ]; then
                printf '%s' "$directory"
                return
            fi
        done
    done
    fail "PostgreSQL 14 to 18 is not installed (make setup installs it)"
}

# PostgreSQL refuses to run as root.
as_server_user() {
    if [ "$(id -u)" -eq 0 ]; then
        runuser -u postgres -- "$@"
    else
        "$@"
    fi
}

# A port below those that the system gives to outgoing connections.
free_port() {
    local port
    while true; do
        port=$((15000 + RANDOM % 17000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            printf '%s' "$port"
            return
        fi
    done
}

start_server() { # name port
    local data=$directory/$1
    as_server_user "$postgres/initdb" --pgdata "$data" --username postgres --auth trust --encoding UTF8 \
        --locale C.UTF-8 --no-sync >"$directory/$1.initdb" 2>&1
    cat >>"$data/postgresql.conf" <<SETTINGS
listen_addresses = '127.0.0.1'
port = $2
unix_socket_directories = '$directory'
wal_level = logical
max_wal_size = 4GB
shared_buffers = 256MB
SETTINGS
    as_server_user "$postgres/pg_ctl" --pgdata "$data" --log "$directory/$1.log" --silent --wait start >/dev/null
}

stop_server() { # name
    if [ -f "$directory/$1/postmaster.pid" ]; then
        as_server_user "$postgres/pg_ctl" --pgdata "$directory/$1" --silent --mode immediate stop >/dev/null 2>&1 || true
    fi
}

source_sql() { psql "$source_uri" --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 "$@"; }
destination_sql() { psql "$destination_uri" --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 "$@"; }

# --- Ending --------------------------------------------------------------------------------------------------------

processes=()

stop_process() { # pid
    kill "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}

clean_up() {
    local status=$?
    trap '' INT TERM
    if [ "$status" -ne 0 ]; then
        for log in coordinator sink-agent source-agent; do
            if [ -s "$directory/$log.log" ]; then
                printf -- '--- the end of the %s log\n' "$log" >&2
                tail -n 15 "$directory/$log.log" >&2
            fi
        done
    fi
    for process in "${processes[@]}"; do
        stop_process "$process"
    done
    stop_server source
    stop_server destination
    rm -rf "$directory"
    exit "$status"
}

directory=$(mktemp -d /tmp/strait-demo.XXXXXX)
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
if [ "$(id -u)" -eq 0 ]; then
    chown postgres "$directory"
fi

# --- The scene -----------------------------------------------------------------------------------------------------

postgres=$(newest_postgres)
source_port=$(free_port)
destination_port=$(free_port)
coordinator_port=$(free_port)
sink_port=$(free_port)
readonly source_uri=postgres://postgres@127.0.0.1:$source_port/shop
readonly destination_uri=postgres://postgres@127.0.0.1:$destination_port/shop
export STRAIT_COORDINATOR=https://127.0.0.1:$coordinator_port

say "Two servers ($("$postgres/postgres" --version)), one with a shop of a million rows"
start_server source "$source_port"
start_server destination "$destination_port"
for port in "$source_port" "$destination_port"; do
    psql "postgres://postgres@127.0.0.1:$port/postgres" --no-psqlrc --quiet --command 'CREATE DATABASE shop'
done
source_sql --file "$here/schema.sql"
before=$(source_sql --command "SELECT relname, relreplident FROM pg_class WHERE relkind IN ('r', 'p') ORDER BY oid")

# The tables as people know them, partitions under their root's name.
readonly tables="crm.customers catalog.products sales.orders sales.order_items sales.events audit.log"

# One line a table: its rows and a sum over a hash of each row. Plain SQL, the same on both sides, nothing of Strait's.
fingerprint() { # source_sql | destination_sql
    for table in $tables; do
        "$1" --command "SELECT '$table', count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) FROM $table t"
    done
}
total_rows() { fingerprint "$1" | awk -F '|' '{ rows += $2 } END { print rows }'; }
printf '%s rows at the source\n' "$(total_rows source_sql)"

say "The shop keeps trading: a hundred transactions a second, all the while"
pgbench --no-vacuum --client 2 --rate 100 --time 3600 --file "$here/writes.sql" "$source_uri" \
    >"$directory/pgbench.log" 2>&1 &
trade=$!
processes+=("$trade")

# --- Strait --------------------------------------------------------------------------------------------------------

say "Three processes, as in three zones, and a certificate for each"
strait certs --directory "$directory/certs" --coordinator main --source-agent eu-1 --sink-agent us-1 --operator me
export STRAIT_TLS_CA=$directory/certs/ca.pem
export STRAIT_TLS_CERTIFICATE=$directory/certs/operator-me.pem STRAIT_TLS_KEY=$directory/certs/operator-me.key
identity() { # role-name
    printf 'tls-ca = "%s"\ntls-certificate = "%s"\ntls-key = "%s"\n' \
        "$STRAIT_TLS_CA" "$directory/certs/$1.pem" "$directory/certs/$1.key"
}
cat >"$directory/coordinator.toml" <<CONFIG
$(identity coordinator-main)
listen = "127.0.0.1:$coordinator_port"
store = "$directory/coordinator.sqlite"
CONFIG
cat >"$directory/sink-agent.toml" <<CONFIG
$(identity sink-agent-us-1)
agent = "us-1"
coordinator = "$STRAIT_COORDINATOR"
listen = "127.0.0.1:$sink_port"

[endpoints.warehouse]
uri = "$destination_uri"
CONFIG
cat >"$directory/source-agent.toml" <<CONFIG
$(identity source-agent-eu-1)
agent = "eu-1"
coordinator = "$STRAIT_COORDINATOR"
heartbeat = "1s"

[endpoints.shop]
uri = "$source_uri"
CONFIG
cat >"$directory/task.yaml" <<TASK
name: shop-eu-to-us
environment: demo
source:      {agent: eu-1, endpoint: shop}
destination: {agent: us-1, endpoint: warehouse}
TASK
for program in coordinator sink-agent source-agent; do
    env -u STRAIT_TLS_CA -u STRAIT_TLS_CERTIFICATE -u STRAIT_TLS_KEY \
        "strait-$program" --config "$directory/$program.toml" >"$directory/$program.log" 2>&1 &
    processes+=("$!")
    printf 'strait-%s runs as process %s\n' "$program" "$!"
done

agents_connected() { strait agents --output json 2>/dev/null | tr -d ' \n' | grep -o '"connected":true' | wc -l; }
for _ in $(seq 100); do
    [ "$(agents_connected)" -ge 2 ] && break
    sleep 0.1
done
[ "$(agents_connected)" -ge 2 ] || fail "the agents did not reach the coordinator"

say "The task: checked, then schema, all rows, and every change"
strait task create "$directory/task.yaml"
strait task precheck shop-eu-to-us
strait task watch shop-eu-to-us > >(sed -u 's/^/    /') 2>&1 &
watch=$!
processes+=("$watch")
strait task start shop-eu-to-us --wait >/dev/null

say "Changes flow; $live_seconds more seconds of trade, with its latency"
sleep "$live_seconds"
kill -0 "$trade" 2>/dev/null || fail "the trade ended early: $(cat "$directory/pgbench.log")"
# Not INT: a shell without job control starts what runs in the background with INT ignored.
kill -TERM "$trade" 2>/dev/null || true
wait "$trade" 2>/dev/null || true

say "The trade rests: do both sides hold the same rows?"
wanted=$(fingerprint source_sql)
for _ in $(seq 300); do
    found=$(fingerprint destination_sql)
    [ "$wanted" = "$found" ] && break
    sleep 0.2
done
strait task show shop-eu-to-us
stop_process "$watch"
paste -d '|' <(printf '%s\n' "$wanted") <(printf '%s\n' "$found") |
    awk -F '|' '{ printf "%-20s %9d rows at the source  %9d at the destination  %s\n", $1, $2, $5, ($2 == $5 && $3 == $6) ? "equal" : "DIFFERENT" }'
[ "$wanted" = "$found" ] || fail "the two sides differ"

say "Released: nothing is left behind"
strait task release shop-eu-to-us --wait >/dev/null
left=$(source_sql --command "SELECT 'slot ' || slot_name FROM pg_replication_slots
                             UNION ALL SELECT 'publication ' || pubname FROM pg_publication
                             UNION ALL SELECT 'schema strait' FROM pg_namespace WHERE nspname = 'strait'")
left+=$(destination_sql --command "SELECT 'schema strait' FROM pg_namespace WHERE nspname = 'strait'")
[ -z "$left" ] || fail "left behind: $left"
after=$(source_sql --command "SELECT relname, relreplident FROM pg_class WHERE relkind IN ('r', 'p') ORDER BY oid")
[ "$before" = "$after" ] || fail "replica identities at the source were changed"

say "Done: $(printf '%s\n' "$wanted" | awk -F '|' '{ rows += $2 } END { print rows }') rows equal on both sides"
