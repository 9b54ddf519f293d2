# Training on NVIDIA GPUs: driver 525 or newer, and the NVIDIA Container Toolkit. Not tried: there is no Docker where this
# is developed.
#
#   docker build --tag sg3tf .
#   docker run --rm --gpus=all --shm-size=1g --volume="$PWD:/work" sg3tf train --data=datasets/ffhq --cfg=stylegan3-t \
#     --batch=32 --gamma=2
#   docker run --rm --gpus=all sg3tf doctor

FROM python:3.12-slim-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends bazel-bootstrap g++ make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# The Python environment of the build has the same TensorFlow as the one below, so that the library fits.
RUN python -m venv /build \
    && /build/bin/pip install --no-cache-dir --constraint constraints.txt tensorflow build \
    && custom_ops/install.sh /build/bin/python \
    && /build/bin/python -m build --wheel --outdir /wheels

FROM python:3.12-slim-bookworm
COPY --from=build /src/constraints.txt /wheels/*.whl /tmp/
RUN wheel=$(echo /tmp/*.whl) \
    && pip install --no-cache-dir --constraint /tmp/constraints.txt "$wheel[cuda,train,metrics,video]" \
    && rm /tmp/*.whl /tmp/constraints.txt
# Compiled kernels are kept in the volume.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility SG3TF_CACHE=/work/.sg3tf-kernels
WORKDIR /work
ENTRYPOINT ["sg3tf"]
CMD ["--help"]
