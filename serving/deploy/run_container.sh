#!/bin/sh
# Serve models/sg3 with the stock server: run_container.sh [MODEL_BASE_PATH]
# GPUs: IMAGE=tensorflow/serving:2.21.0-gpu GPUS="--gpus all" run_container.sh
set -eu
config=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
models=$(CDPATH='' cd -- "${1:-models/sg3}" && pwd)
# shellcheck disable=SC2086  # GPUS is empty or two words
exec docker run --rm ${GPUS:-} -p 127.0.0.1:8500:8500 -p 127.0.0.1:8501:8501 \
    --entrypoint tensorflow_model_server \
    -v "$models:/models/sg3:ro" -v "$config:/config:ro" \
    "${IMAGE:-tensorflow/serving:2.21.0}" \
    --port=8500 --rest_api_port=8501 \
    --model_config_file=/config/models.config \
    --enable_batching --batching_parameters_file=/config/batching_parameters.txt \
    --monitoring_config_file=/config/monitoring.config
