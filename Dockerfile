# tusserver in an image: docker build -t tusserver .
# Everything that is installed comes from the lock files, by hash; docs/deployment.md says how to run it.
ARG PYTHON=3.13-slim

FROM python:${PYTHON} AS build
WORKDIR /src
RUN python -m venv /opt/tusserver
COPY requirements.lock requirements-build.lock ./
RUN /opt/tusserver/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
RUN python -m venv /opt/build && /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements-build.lock
COPY LICENSE README.md pyproject.toml ./
COPY tusserver tusserver
RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /opt/wheel .
RUN /opt/tusserver/bin/pip install --no-cache-dir --no-deps --no-index --find-links /opt/wheel tusserver \
    && /opt/tusserver/bin/pip uninstall --yes --quiet pip

FROM python:${PYTHON}
# A number, so that Kubernetes can see that it is not root; group 0, for platforms that choose the user themselves
RUN install --directory --owner=10001 --group=0 --mode=0770 /data
COPY --from=build /opt/tusserver /opt/tusserver
ENV PATH=/opt/tusserver/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TUSSERVER_HOST=0.0.0.0 \
    TUSSERVER_LOG_FORMAT=json
# From here the defaults, data/sessions.db and data/uploads, are in the volume
WORKDIR /
VOLUME /data
USER 10001:0
EXPOSE 1080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --start-interval=1s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('TUSSERVER_PORT', '1080')), timeout=4); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["tusserver"]
CMD ["serve"]
