#!/usr/bin/env bash
# Puts a backup into a stack that holds nothing: its first argument is the folder. The secrets must be
# those of the time of the backup. It changes nothing that is there: it refuses. `make restore
# BACKUP=backups/TIME` runs this.
set -euo pipefail
compose="docker compose"
docker compose version > /dev/null 2>&1 || compose=docker-compose
refuse() { echo "restore: $*" >&2; exit 1; }

backup=${1:-}
[ -f "$backup/SHA256SUMS" ] || refuse "no backup in '$backup'; say make restore BACKUP=backups/TIME"
[ "$(cut --characters=67- "$backup/SHA256SUMS")" = $'airflow.dump\nmlflow.dump\nfiles.tar' ] \
  && (cd "$backup" && sha256sum --check --quiet --strict SHA256SUMS) \
  || refuse "$backup is not whole; take another"
exec 9< .
flock --nonblock 9 || refuse "a backup or a restore is at work in this folder; wait for it"
containers=$($compose ps --all --quiet) || refuse "Compose does not answer"
[ -z "$containers" ] || refuse "the stack has containers. Take it down first: docker compose down"
held=$($compose run --rm -T --no-deps files find data garage -mindepth 1 -print -quit < /dev/null) \
  || refuse "the volumes could not be looked into; nothing was changed"
[ -z "$held" ] \
  || refuse "the volumes hold data. Remove it first, for good: docker compose down --volumes"
trap 'echo "restore: failed; before you try again: docker compose down --volumes" >&2' EXIT
trap 'exit 130' INT TERM HUP

$compose up --detach postgres
$compose run --rm -T postgres-init < /dev/null
for database in airflow mlflow; do
  tables="SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
  count=$($compose exec -T postgres psql --username=postgres -At -d "$database" -c "$tables" < /dev/null)
  [ "$count" = 0 ] || refuse "the database $database holds $count tables"
  echo "restore: the database $database"
  $compose exec -T postgres pg_restore --username=postgres --exit-on-error --single-transaction \
    --no-owner --no-privileges --role="$database" --dbname="$database" < "$backup/$database.dump"
done
echo "restore: the object store, and scores with their state"
$compose run --rm -T --no-deps files tar --extract --file=- < "$backup/files.tar"
trap - EXIT
echo "restore: done. Next: docker compose up --detach"
