# The product and nothing more.  The container's arguments are the command: attach (init container) or observe.
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}

RUN apt-get update \
    && apt-get install --yes --no-install-recommends nftables \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/floatingip
COPY requirements.txt .
RUN python3 -m venv .venv \
    && .venv/bin/python -m pip install --no-cache-dir --require-hashes -r requirements.txt
COPY floatingip/ floatingip/

# PID 1 gets SIGTERM itself (exec form), and a log line is written when it is said.
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
ENTRYPOINT ["/opt/floatingip/.venv/bin/python", "-m", "floatingip"]
