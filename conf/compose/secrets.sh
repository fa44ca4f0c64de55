#!/usr/bin/env bash
# Makes secrets/ (or the folder that NOCTURNE_SECRETS names, here or in .env), a file for each secret
# of the stack, and .env. What is there already stays as it is, since the databases need their
# passwords and keys; what is missing is added. Nothing is written unless every value could be made.
# `make secrets` runs this.
set -euo pipefail
shopt -s inherit_errexit
umask 077

folder=${NOCTURNE_SECRETS:-}
[ -n "$folder" ] || [ ! -e .env ] || folder=$(sed -n 's/^NOCTURNE_SECRETS=//p' .env)
folder=${folder:-./secrets}
mkdir -p "$folder"
chmod 700 "$folder" # it may be older than this

# In the folder itself: a move within a file system is done at once or not at all.
new=$(mktemp --directory "$folder/.new.XXXXXX")
trap 'rm -rf "$new"; rmdir "$folder" 2> /dev/null || true' EXIT

# Letters and digits only where a value stands in a URL. Values have no end of line.
hex() { local value; value=$(openssl rand -hex "$2"); printf %s "$value" > "$new/$1"; }

hex postgres_password 24      # PostgreSQL's superuser
hex airflow_db_password 24    # Airflow's role there
hex mlflow_db_password 24     # MLflow's
hex airflow_jwt_secret 64     # signs the tokens of users and tasks; at least 64 characters
hex airflow_api_secret 32     # signs the sessions of Airflow's pages
hex airflow_admin_password 12 # Airflow's first user, admin: read when that user is made
hex garage_rpc_secret 32      # the object store's own commands
hex mlflow_session_key 32     # MLflow's forms
hex redis_password 24         # the queue of the profile celery

# Encrypts the connections and variables in Airflow's database. Lost, they can't be read again.
value=$(openssl rand -base64 32 | tr '+/' '-_')
printf %s "$value" > "$new/airflow_fernet_key"

# The object store's key, as the AWS SDK reads it: GK and 24 hexadecimal digits, and 64.
id=$(openssl rand -hex 12) key=$(openssl rand -hex 32)
cat > "$new/s3_key" <<FILE
[default]
aws_access_key_id = GK$id
aws_secret_access_key = $key
FILE

# MLflow's user, as its clients read it.
value=$(openssl rand -hex 24)
cat > "$new/mlflow_login" <<FILE
[mlflow]
mlflow_tracking_username = nocturne
mlflow_tracking_password = $value
FILE

# What Spark's master, workers and drivers must know to speak to one another.
value=$(openssl rand -hex 32)
cat > "$new/spark_defaults" <<FILE
spark.authenticate true
spark.authenticate.secret $value
FILE

# Containers read them as users of their own. On this host nobody else can enter the folder.
chmod 444 "$new"/*
for file in "$new"/*; do
  there=$folder/${file##*/}
  [ ! -e "$there" ] || { [ -f "$there" ] && [ -s "$there" ]; } || {
    echo "secrets: $there is empty or no file (Docker makes a folder where a file is missing):" \
      "remove it, and try again" >&2
    exit 1
  }
done
made=0
for file in "$new"/*; do
  [ -e "$folder/${file##*/}" ] || { mv "$file" "$folder/"; made=$((made + 1)); }
done
[ -e .env ] || cp .env.example .env
echo "Made $made new secrets in $folder/. Next: docker compose build && docker compose up --detach"
