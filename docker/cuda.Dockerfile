# docker build -f docker/cuda.Dockerfile -t gpuzarr-cuda . && docker run --rm --gpus all gpuzarr-cuda
#
# The library with CuPy and nvCOMP for a driver of CUDA 13; the CUDA libraries come as Python packages. Without a command
# it says what it finds (`gpuzarr doctor`). `pytest -m gpu` runs the tests that need a GPU, and
# `docker run --rm --gpus all -v $PWD/found:/found gpuzarr-cuda python bench/gpu_session.py /found` asks it everything,
# but for compute-sanitizer, which is not in this image. Not built yet: no machine at hand could.
FROM nvidia/cuda:13.0.1-base-ubuntu24.04

RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-venv g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /gpuzarr
COPY . .
RUN python3 -m venv .venv && .venv/bin/pip install -q --no-cache-dir -e '.[cuda13,bench,test]'
ENV PATH="/gpuzarr/.venv/bin:$PATH"

CMD ["gpuzarr", "doctor"]
