# One image for the API, the worker and the one-shot migration; the command says which.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
# The environment that is kept gets no pip of its own: what builds stays in this stage.
RUN python -m venv /build && python -m venv --without-pip /opt/stanchion
COPY requirements-build.txt requirements-runtime.txt ./
RUN /build/bin/pip install --no-cache-dir --require-hashes -r requirements-build.txt
RUN /build/bin/pip --python /opt/stanchion/bin/python install --no-cache-dir --only-binary :all: \
        --require-hashes -r requirements-runtime.txt
COPY pyproject.toml README.md settings.py worker.py ./
COPY playbooks playbooks
COPY workflows workflows
COPY activities activities
COPY storage storage
COPY engine engine
COPY executions executions
COPY api api
COPY cli cli
COPY stanchion_client stanchion_client
RUN /build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /build/bin/pip --python /opt/stanchion/bin/python install --no-cache-dir --no-deps --no-index /wheels/*.whl

FROM python:3.11-slim-bookworm
# Pango draws PDF reports; bubblewrap is the sandbox of script.run; prlimit and setpriv come with the base image (util-linux).
RUN apt-get update \
    && apt-get install --yes --no-install-recommends bubblewrap ca-certificates \
        libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 fonts-dejavu-core \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /var/lib/stanchion \
        --shell /usr/sbin/nologin stanchion \
    && install --directory --owner stanchion --group stanchion --mode 0700 /var/lib/stanchion
COPY --from=build /opt/stanchion /opt/stanchion
COPY --chmod=0644 deploy/worker_health.py /opt/stanchion/worker_health.py
ENV PATH=/opt/stanchion/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    STANCHION_DATA_DIR=/var/lib/stanchion
USER stanchion
WORKDIR /var/lib/stanchion
EXPOSE 8080
CMD ["stanchion", "up", "--host", "0.0.0.0"]
