#!/bin/sh
# Makes the databases at the first start, then serves. Runs in Debian's package and in the public image alike.
set -eu
bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
data=/data/database

if [ ! -d "$data" ]; then
    # Made beside its place and moved there at the end: a start that is interrupted begins anew.
    young=/data/young
    rm -rf "$young"
    "$bin/initdb" --pgdata="$young" --username=postgres --pwfile=/passwords/superuser --encoding=UTF8 --locale=C.UTF-8 \
        --auth-local=peer --auth-host=scram-sha-256
    "$bin/pg_ctl" --pgdata="$young" --wait start -o "-c listen_addresses= -c unix_socket_directories=/run/postgresql"
    "$bin/psql" -h /run/postgresql -U postgres -v ON_ERROR_STOP=1 -v password="$(cat /passwords/operator)" <<'SQL'
CREATE ROLE tenantry_operator LOGIN CREATEROLE CREATEDB PASSWORD :'password';
GRANT pg_signal_backend TO tenantry_operator;
CREATE DATABASE app OWNER tenantry_operator;
CREATE DATABASE tenantry OWNER tenantry_operator;
SQL
    "$bin/pg_ctl" --pgdata="$young" --wait stop
    printf 'local all all peer\nhostssl all all all scram-sha-256\n' > "$young/pg_hba.conf"
    mv "$young" "$data"
fi
# A server that was killed leaves the number of a process that now is another's.
rm -f "$data/postmaster.pid"

exec "$bin/postgres" -D "$data" \
    -c listen_addresses='*' -c unix_socket_directories=/run/postgresql -c max_connections=200 -c jit=off \
    -c ssl=on -c ssl_cert_file=/tls/tls.crt -c ssl_key_file=/tls/tls.key
