# syntax=docker/dockerfile:1
# The pages at / and /lineage, which are built into the binary.
FROM node:22-bookworm-slim AS pages
WORKDIR /src
COPY scripts/pages scripts/pages
RUN scripts/pages/fetch && test -s .overlay/pages/graphiql.min.js

FROM rust:1.95-bookworm AS build
WORKDIR /src
# Tests and benches are not built, but Cargo.toml names their files.
COPY Cargo.toml Cargo.lock ./
COPY entity entity
COPY migration migration
COPY benches benches
COPY tests/it tests/it
COPY src src
COPY --from=pages /src/.overlay/pages .overlay/pages
RUN cargo build --locked --profile dist --bin overlay

# The binary needs libc, libm and libgcc alone; authorities for TLS are built in.
FROM debian:bookworm-slim
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Overlay" \
      org.opencontainers.image.description="The read and trust server of a data-asset marketplace" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /src/target/dist/overlay /usr/local/bin/overlay
ENV OVERLAY_HOST=0.0.0.0 LOG_FORMAT=json MIMALLOC_ALLOW_THP=0
WORKDIR /
# A number, so that it can be seen not to be root. It writes no files once PG_URL and REDIS_URL are given.
USER 10001:10001
EXPOSE 8788
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/overlay"]
CMD ["serve"]
