#!/bin/bash
# SeaweedFS, a real S3 server, under Garage's command line and environment. Its program is the
# rest of this file, from the line after the last one here.
set -euo pipefail
weed=/var/lib/garage/weed
case $1 in
  server)
    [ -x "$weed" ] || { tail --lines=+19 "$0" > "$weed.new"; chmod 700 "$weed.new"; mv "$weed.new" "$weed"; }
    : "${GARAGE_RPC_SECRET:?}"
    export AWS_ACCESS_KEY_ID=$GARAGE_DEFAULT_ACCESS_KEY AWS_SECRET_ACCESS_KEY=$GARAGE_DEFAULT_SECRET_KEY
    exec "$weed" mini -dir=/var/lib/garage -ip=127.0.0.1 -ip.bind=0.0.0.0 -s3.port=3900 \
      -bucket="$GARAGE_DEFAULT_BUCKET" -admin.ui=false -webdav=false ;;
  status)
    : "${GARAGE_RPC_SECRET:?}"
    exec 3<>/dev/tcp/127.0.0.1/3900 ;;
  *) echo "the stand-in of Garage knows server and status, not $1" >&2; exit 2 ;;
esac
exit
