#!/usr/bin/env bash
# Writes backups/TIME/: both databases, the object store, and the volume data with the scores and
# their state, all of one moment, since everything but PostgreSQL is stopped meanwhile. What ran
# before runs again at the end, also after an error. secrets/ and .env are not in it: keep them
# elsewhere, since a restored stack needs the same ones. `make backup` runs this.
set -euo pipefail
umask 077
compose="docker compose"
docker compose version > /dev/null 2>&1 || compose=docker-compose

running=$($compose ps --services --filter status=running)
if ! grep -qx postgres <<< "$running"; then
  echo "backup: the stack does not run here (docker compose ps); start it first" >&2
  exit 1
fi
others=$(grep -vx postgres <<< "$running" || true)
time=$(date --utc +%Y-%m-%dT%H%M%SZ)
part=backups/.$time.part
mkdir -p "$part"
trap 'rm -rf "$part"; [ -z "$others" ] || $compose start $others' EXIT

echo "backup: stopping all but PostgreSQL"
[ -z "$others" ] || $compose stop $others
for database in airflow mlflow; do
  echo "backup: the database $database"
  $compose exec -T postgres pg_dump --username=postgres --format=custom "$database" \
    < /dev/null > "$part/$database.dump"
done
echo "backup: the object store, and scores with their state"
$compose run --rm -T --no-deps files < /dev/null > "$part/files.tar"
(cd "$part" && sha256sum airflow.dump mlflow.dump files.tar > SHA256SUMS && sync airflow.dump mlflow.dump files.tar)
mv "$part" "backups/$time"
echo "backup: backups/$time, $(du -sh "backups/$time" | cut -f1)"
