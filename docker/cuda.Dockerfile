# docker build -f docker/cuda.Dockerfile -t gpuzarr-cuda . && docker run --rm --gpus all gpuzarr-cuda
#
# The library with CuPy and nvCOMP for a driver of CUDA 13. Without a command it says what it finds (`gpuzarr doctor`);
# `pytest -m gpu` runs the tests that need a GPU. Not built yet on a machine with a GPU.
FROM nvidia/cuda:13.0.1-runtime-ubuntu24.04

RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-venv g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /gpuzarr
COPY . .
RUN python3 -m venv .venv && .venv/bin/pip install -q --no-cache-dir -e '.[cuda13,test]'
ENV PATH="/gpuzarr/.venv/bin:$PATH"

CMD ["gpuzarr", "doctor"]
