#!/bin/sh
# databases.sh: a role and a database for every service, and the operator's role that may read them all.
#
# Each service owns its database and nobody else may connect to it. The image runs this when it makes its data;
# to add a service to a shop that has data, or to give the roles the passwords of a changed .env, run it again:
#   docker compose exec postgres sh /docker-entrypoint-initdb.d/databases.sh
# tools/supervisor/src/databases.rs does the same for the shop without containers.
set -eu

sql() { psql --quiet --no-psqlrc --set=ON_ERROR_STOP=1 --username=postgres --dbname=postgres "$@"; }

# role NAME PASSWORD
role() {
    : "${2:?of the role $1 is not set, see .env.example}"
    # The name is looked up, so that a second run changes the password only.
    sql --set=name="$1" --set=password="$2" <<'SQL'
select format('%s role %I login password %L',
              case when exists (select from pg_roles where rolname = :'name') then 'alter' else 'create' end,
              :'name', :'password') \gexec
SQL
}

# database NAME: owned by the role of the same name.
database() {
    sql --set=name="$1" <<'SQL'
select format('create database %I owner %I', :'name', :'name')
where not exists (select from pg_database where datname = :'name') \gexec
revoke all on database :"name" from public;
grant connect on database :"name" to operator;
SQL
}

role operator "$OPERATOR_DATABASE_PASSWORD"
sql --command='grant pg_read_all_data to operator' \
    --command='alter role operator set default_transaction_read_only = on'
for service in order_api payment inventory email loyalty kitchen_display analytics card_processor; do
    variable=$(echo "${service}_database_password" | tr '[:lower:]' '[:upper:]')
    role "$service" "$(printenv "$variable")"
    database "$service"
done
