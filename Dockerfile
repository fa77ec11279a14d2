FROM python:3.13-slim AS build
WORKDIR /source
COPY . .
RUN python -m pip wheel --no-cache-dir --wheel-dir /wheels ".[mongodb,oidc,otel,postgresql]"

FROM python:3.13-slim
RUN useradd --create-home --uid 1000 jitflow \
    && install --directory --owner=jitflow --group=jitflow /data /etc/jitflow \
    && echo '# Mount settings of your own over this file.' > /etc/jitflow/settings.toml
COPY --from=build /wheels /wheels
# hadolint ignore=DL3013
RUN python -m pip install --no-cache-dir --no-index --find-links=/wheels "jitflow[mongodb,oidc,otel,postgresql]" \
    && rm -r /wheels
USER 1000
ENV JITFLOW_HOME=/data \
    JITFLOW_CONFIG=/etc/jitflow/settings.toml
VOLUME /data
EXPOSE 2746
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:2746/livez', timeout=2)"]
ENTRYPOINT ["jitflow"]
CMD ["server", "--host", "0.0.0.0", "--port", "2746"]
