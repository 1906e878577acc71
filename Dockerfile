# The product and nothing more.  The container's arguments are the command: attach (init container) or observe.
#
# BASE is any Debian with Python 3.11 or newer and its venv module.  By digest, so that it is what was tested; `make base`
# writes that of today, which has the security updates since.
ARG BASE=python:3.11-slim-bookworm@sha256:0bee7276f83efd4a1ee05bbbf4281d95ed28e079220a9457f25a93e3f1e3c31b

# The Python packages, in a virtual environment that pip itself stays out of.
FROM ${BASE} AS packages
# Where packages come from if not from PyPI.  Arguments of this stage leave no trace in the image.
ARG PIP_INDEX_URL
ARG PIP_FIND_LINKS
ARG PIP_NO_INDEX
WORKDIR /opt/floatingip
COPY requirements.txt .
RUN python3 -m venv /tmp/pip \
    && python3 -m venv --without-pip .venv \
    && /tmp/pip/bin/pip --python .venv/bin/python install --no-cache-dir --no-compile --require-hashes -r requirements.txt
# Of some 400 services' descriptions it needs EC2's, and STS's to get its credentials.
RUN find .venv/lib/python3*/site-packages/botocore/data -mindepth 1 -maxdepth 1 -type d ! -name ec2 ! -name sts \
        -exec rm -r {} +
COPY floatingip/ floatingip/
# The short name, for `kubectl exec … -- floatingip status`, from wherever it is called.
RUN mkdir bin \
    && printf '#!/bin/sh\nPYTHONPATH=/opt/floatingip exec /opt/floatingip/.venv/bin/python -m floatingip "$@"\n' > bin/floatingip \
    && chmod 755 bin/floatingip
# A read-only root keeps Python from caching what it compiles: without this every start would take a second longer.
# The file's time is not part of such a .pyc, so that the same sources give the same image.
RUN find .venv -name __pycache__ -exec rm -r {} + \
    && python3 -m compileall -q --invalidation-mode unchecked-hash .venv/lib floatingip

# The system: the base with nft, without what only builds, and without what lends rights.
FROM ${BASE} AS system
RUN apt-get update \
    && apt-get install --yes --no-install-recommends nftables \
    && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* /tmp/*
RUN library=$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))') \
    && rm -rf /root/.cache /usr/share/python-wheels "$library/ensurepip" \
        /usr/local/bin/pip* "$library"/site-packages/pip* "$library"/site-packages/setuptools* "$library"/site-packages/wheel* \
    && find "$library" -name __pycache__ -exec rm -r {} + \
    && python3 -m compileall -q --invalidation-mode unchecked-hash "$library" \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} +

# What was removed above is not in here, not even in a layer below.
FROM scratch
COPY --from=system / /
COPY --from=packages /opt/floatingip/ /opt/floatingip/
WORKDIR /opt/floatingip

# PID 1 gets SIGTERM itself (exec form), and a log line is written when it is said.
ENV PATH=/opt/floatingip/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1
ENTRYPOINT ["/opt/floatingip/.venv/bin/python", "-m", "floatingip"]

ARG VERSION
ARG REVISION
ARG CREATED
LABEL org.opencontainers.image.title="floatingip" \
      org.opencontainers.image.description="One reserved address in front of a cluster's NodePorts on EC2, always on a live worker node" \
      org.opencontainers.image.licenses="MIT-0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
