# One image for every role. Build:      docker build --tag headrace:0.1.0 .
# For production pin the base by digest:  --build-arg PYTHON_IMAGE=python:3.11-slim-bookworm@sha256:...
# (docker buildx imagetools inspect python:3.11-slim-bookworm shows it; both stages take the same.)
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG UV_VERSION=0.13.9
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# The compiler stays in this stage.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/* \
    && pip install --no-cache-dir "uv==${UV_VERSION}"
WORKDIR /src
COPY requirements-runtime.lock ./
RUN python -m venv --without-pip /opt/headrace \
    && uv pip sync --no-cache --python /opt/headrace/bin/python --require-hashes requirements-runtime.lock
COPY requirements.lock pyproject.toml hatch_build.py README.md LICENSE ./
COPY schemas schemas
COPY ingest ingest
COPY views views
COPY processors processors
COPY api api
COPY headrace headrace
RUN HEADRACE_CORE=require uv build --no-cache --wheel --build-constraint requirements.lock --require-hashes --out-dir /tmp/wheels \
    && uv pip install --no-cache --python /opt/headrace/bin/python --no-deps /tmp/wheels/*.whl \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/headrace/lib

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="headrace" \
      org.opencontainers.image.description="An AT Protocol backend: every role of it" \
      org.opencontainers.image.licenses="MIT"
RUN groupadd --gid 10001 headrace \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin headrace \
    && install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/headrace
COPY --from=build /opt/headrace /opt/headrace
ENV PATH=/opt/headrace/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HEADRACE_DATA=/var/lib/headrace/data \
    HEADRACE_HOST=0.0.0.0
# By number, so that Kubernetes can see that it is not root. Nothing but /tmp and /var/lib/headrace need be writable.
USER 10001:10001
WORKDIR /tmp
EXPOSE 2580 2582 2583
# Probes are the platform's: /live and /ready on port 2580.
HEALTHCHECK NONE
# Exec form: SIGTERM reaches the process itself.
ENTRYPOINT ["headrace"]
CMD ["--help"]
