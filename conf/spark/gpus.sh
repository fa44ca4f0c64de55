#!/bin/sh
# Lists the GPUs of a Spark worker: spark.worker.resource.gpu.discoveryScript.
set -eu
indices=$(nvidia-smi --query-gpu=index --format=csv,noheader)
printf '{"name": "gpu", "addresses": [%s]}\n' "$(printf '%s' "$indices" | sed 's/.*/"&"/' | paste -sd,)"
