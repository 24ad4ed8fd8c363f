# docker build -f docker/cpu.Dockerfile -t gpuzarr-cpu . && docker run --rm gpuzarr-cpu
#
# The CPU library with all that its tests need. Without a command the tests run; `gpuzarr demo` runs the demo.
FROM python:3.11-slim

WORKDIR /gpuzarr
COPY . .
RUN python3 -m venv .venv && .venv/bin/pip install -q --no-cache-dir -e '.[test]'
ENV PATH="/gpuzarr/.venv/bin:$PATH"

CMD ["pytest"]
