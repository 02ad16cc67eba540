# `make image-gateway` builds it, in the root of a checkout. docs/cluster.md describes its use.
FROM python:3.13-slim-bookworm AS build
WORKDIR /src
COPY requirements-cluster.txt ./
RUN python -m venv /opt/job-worker/venv \
    && /opt/job-worker/venv/bin/pip install --no-cache-dir --require-hashes -r requirements-cluster.txt
COPY gen/python gen/python
COPY services/worker services/worker
COPY services/cluster services/cluster
COPY services/gateway services/gateway
RUN /opt/job-worker/venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation \
    ./gen/python ./services/worker ./services/cluster ./services/gateway

FROM python:3.13-slim-bookworm
COPY --from=build /opt/job-worker/venv /opt/job-worker/venv
# The root file system can be read-only.
ENV PATH=/opt/job-worker/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
EXPOSE 50051
# The check needs viewer.pem in /opt/job-worker/certs.
HEALTHCHECK --start-period=30s --timeout=5s CMD ["jobworkerd", "health"]
ENTRYPOINT ["jobworker-gateway"]
