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
COPY clients/python clients/python
RUN /opt/job-worker/venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation \
    ./gen/python ./services/worker ./services/cluster ./services/gateway ./clients/python \
    && /opt/job-worker/venv/bin/pip check

FROM python:3.13-slim-bookworm
COPY --from=build /opt/job-worker/venv /opt/job-worker/venv
# The root file system can be read-only. The health check would search the certificates in the home of the user.
ENV PATH=/opt/job-worker/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 JOBWORKERD_CERTS_DIR=/opt/job-worker/certs
USER 65532:65532
EXPOSE 50051
# The check needs viewer.pem in /opt/job-worker/certs.
HEALTHCHECK --start-period=30s --timeout=5s CMD ["jobworkerd", "health"]
ENTRYPOINT ["jobworker-gateway"]
