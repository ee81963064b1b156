# One image for each program of the shop, from one build: the argument SERVICE says which.
#
#   docker build --build-arg SERVICE=payment --tag coffee-shop/payment .
#   docker buildx build --platform linux/amd64,linux/arm64 --sbom=true --provenance=true …
#
# The programs are linked statically and stand alone in their image: no shell, no libraries, no root.

ARG RUST=1.95.0
ARG DEBIAN=bookworm

# Compiles on the builder's own architecture for the other one, which is many times faster than emulating it.
FROM --platform=$BUILDPLATFORM rust:${RUST}-slim-${DEBIAN} AS toolchain
ARG TARGETARCH
WORKDIR /shop
COPY --chmod=755 docker/cross /usr/local/bin/cross
RUN cross prepare
ENV CARGO_NET_RETRY=10 CARGO_TERM_COLOR=never

# The workspace with nothing in it: every manifest and an empty program or library for each. What comes out of
# here changes only when a manifest does, and with it the layer of the dependencies.
FROM toolchain AS manifests
COPY . .
RUN cross empty

FROM toolchain AS programs
# --sbom=true looks here too, and finds the crates in Cargo.lock.
ARG BUILDKIT_SBOM_SCAN_STAGE=true
COPY --from=manifests /shop .
# Locked: two builds that unpack the same crate at once would spoil it.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked cross build
COPY . .
# Cargo goes by the time of a file, and ours may be older than the empty ones they replace.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    find . -path ./target -prune -o -name '*.rs' -exec touch {} + && cross build && cross install /programs

FROM scratch
ARG SERVICE
# Another program that this one starts.
ARG BESIDE=healthcheck
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="coffee-shop ${SERVICE}" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.licenses="MIT OR Apache-2.0"
# The certificates of the public authorities, for TLS to a broker, a mail server or a payment company.
COPY --from=programs /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=programs /programs/healthcheck /programs/${BESIDE} /
COPY --from=programs /programs/${SERVICE} /service
USER 65532:65532
ENTRYPOINT ["/service"]
