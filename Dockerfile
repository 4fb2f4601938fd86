# One image for every role: `metricsd run`, configured through METRICSD_... in the environment.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The caches hold the registry and the compiled dependencies between builds; the binary must leave them to be kept.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked -p metricsd \
    && install -D target/release/metricsd /out/metricsd

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/metricsd --create-home --shell /usr/sbin/nologin metricsd
COPY --from=build /out/metricsd /usr/local/bin/metricsd
COPY LICENSE /usr/share/doc/metricsd/LICENSE
USER metricsd
WORKDIR /var/lib/metricsd
ENV METRICSD_LISTEN=0.0.0.0:9099 METRICSD_DATA_DIR=/var/lib/metricsd
VOLUME /var/lib/metricsd
EXPOSE 9099
ENTRYPOINT ["metricsd"]
CMD ["run"]
