# syntax=docker/dockerfile:1
# One image with the three programs; what runs is the entrypoint: producer, worker or syncfleet.

FROM rust:1.95-bookworm AS build
WORKDIR /src
# The image's own toolchain: rust-toolchain.toml would fetch components that a build does not need.
ENV RUSTUP_TOOLCHAIN=1.95.0
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release --bin producer --bin worker --bin syncfleet \
    && install -D -t /out target/release/producer target/release/worker target/release/syncfleet

FROM debian:bookworm-slim
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin syncfleet \
    && install -d -o syncfleet -g syncfleet /var/lib/syncfleet
COPY --from=build /out/ /usr/local/bin/
USER 10001
# The embedded queue and state, and a producer's spool, are kept here: mount a volume.
WORKDIR /var/lib/syncfleet
EXPOSE 8080 9180
# Liveness of a producer or worker. A broker that is away makes it unready, not unhealthy: a restart would not help.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["syncfleet", "health", "--url", "http://127.0.0.1:9180/healthz"]
CMD ["syncfleet", "--help"]
