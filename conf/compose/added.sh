#!/usr/bin/env bash
# Copies what a step of the Dockerfile has added to the environment since it made /before to /new:
# as a layer of its own it is then added to another image.
set -euo pipefail
mkdir /new
find /opt/venv -cnewer /before ! -type d -print0 | tar --create --absolute-names --null --files-from=- \
  | tar --extract --directory=/new
