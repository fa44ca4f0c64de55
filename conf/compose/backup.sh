#!/usr/bin/env bash
# Writes backups/TIME/: both databases, the object store, and the volume data with the scores and
# their state, all of one moment, since everything but PostgreSQL is stopped meanwhile. The
# containers that ran before run again at the end, also after an error, Ctrl-C or a lost terminal.
# secrets/ and .env are not in it: keep them elsewhere, since a restored stack needs the same ones.
# `make backup` runs this.
set -euo pipefail
umask 077
compose="docker compose"
docker compose version > /dev/null 2>&1 || compose=docker-compose
refuse() { echo "backup: $*" >&2; exit 1; }

exec 9< .
flock --nonblock 9 || refuse "a backup or a restore is at work in this folder; wait for it"
postgres=$($compose ps --quiet postgres)
[ -n "$postgres" ] && [ "$(docker inspect --format '{{.State.Running}}' "$postgres")" = true ] \
  || refuse "the stack does not run here (docker compose ps); start it first"

# docker ps, unlike Compose's, shows containers of all profiles and of docker compose run.
label=com.docker.compose
project=$(docker inspect --format "{{index .Config.Labels \"$label.project\"}}" "$postgres")
ps() { docker ps --no-trunc --filter "label=$label.project=$project" "$@"; }
by_hand=$(ps --filter "label=$label.oneoff=True" --format '{{.Names}}')
[ -z "$by_hand" ] \
  || refuse "docker compose run is at work; wait for it, or docker rm --force" $by_hand
ran=$(ps --quiet | grep -vx "$postgres" || true)
services=$(ps --format "{{.Label \"$label.service\"}}" | grep -vx postgres | sort --unique || true)
alone() {
  local others
  others=$(ps --quiet | grep -vx "$postgres" || true)
  [ -z "$others" ] || refuse "started meanwhile:" $(docker inspect --format '{{.Name}}' $others)
}

time=$(date --utc +%Y-%m-%dT%H%M%SZ)
part=backups/.part
end() {
  trap '' INT TERM HUP
  set +e
  left=$(ps --all --quiet --filter "label=$label.service=files")
  [ -z "$left" ] || docker rm --force $left > /dev/null 2>&1
  # Compose would also start what was stopped by hand, and nothing if one that ended is gone.
  [ -z "$ran" ] || setsid --wait docker start $ran > /dev/null || status=1
  rm -rf "$part"
  exit "$status"
}
trap 'status=$?; end' EXIT
trap 'exit 130' INT TERM HUP
rm -rf "$part" # of a backup that was killed
mkdir -p "$part"

echo "backup: stopping all but PostgreSQL"
[ -z "$services" ] || $compose stop $services
alone
for database in airflow mlflow; do
  echo "backup: the database $database"
  $compose exec -T postgres pg_dump --username=postgres --format=custom "$database" \
    < /dev/null > "$part/$database.dump"
done
echo "backup: the object store, and scores with their state"
$compose run --rm -T --no-deps files < /dev/null > "$part/files.tar"
alone
(cd "$part" && sha256sum airflow.dump mlflow.dump files.tar > SHA256SUMS && sync -- * .)
mv "$part" "backups/$time"
sync backups
echo "backup: backups/$time, $(du -sh "backups/$time" | cut -f1)"
