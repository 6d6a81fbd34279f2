# One image for every role: edgeproxy serve | resolver | origin | control.
# `docker build .` makes it; `--target client` makes a small image with curl and dig to look at it with.

FROM python:3.11-slim AS client
RUN apt-get update \
    && apt-get install --yes --no-install-recommends curl dnsutils \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home viewer
USER 10001:10001
WORKDIR /tmp
CMD ["curl", "--silent", "--show-error", "--head", "http://www.example.test/"]

FROM python:3.11-slim AS build
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY edgeproxy edgeproxy
# Every dependency has a wheel: no compiler is needed, and nothing of this stage but the environment is kept.
RUN python -m venv /opt/edgeproxy && /opt/edgeproxy/bin/pip install --no-cache-dir .

FROM python:3.11-slim
# The data folder belongs to the user, so that a new volume mounted there does too.
RUN useradd --uid 10001 --no-create-home edgeproxy && mkdir -p /data && chown 10001:10001 /data
COPY --from=build /opt/edgeproxy /opt/edgeproxy
COPY edgeproxy/origin/site /srv/site
ENV PATH=/opt/edgeproxy/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    EDGEPROXY_DATA=/data
USER 10001:10001
WORKDIR /data
ENTRYPOINT ["edgeproxy"]
CMD ["--help"]
