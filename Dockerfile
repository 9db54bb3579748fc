# gradamp in a container. The image has the Vulkan loader and Mesa's drivers; `--target cpu` is a smaller one without them.
#
#     docker build --build-arg GRADAMP_COMMIT="$(git rev-parse HEAD)" --tag gradamp .
#     docker run --rm --volume gradamp-data:/data gradamp data download cifar10
#     docker run --rm --volume gradamp-data:/data --volume gradamp-runs:/work/runs gradamp train --preset vanishing
#     docker run --rm --device /dev/dri gradamp devices
#
# Data sets are in /data, runs in /work/runs. A folder in place of a volume must be writable for the user: --user "$(id -u):$(id -g)".

FROM rust:1-slim-bookworm AS builder
WORKDIR /source
COPY . .
# The commit that `gradamp --version` and the record of each run name; the repository itself is not in the image.
ARG GRADAMP_COMMIT
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/source/target \
    cargo build --profile dist --locked --package gradamp-cli && cp target/dist/gradamp /usr/local/bin/gradamp

# The same Debian as the builder's, and so the same C library.
FROM debian:bookworm-slim AS cpu
RUN useradd --uid 1000 --create-home gradamp && mkdir -p /data /work/runs && chown -R gradamp:gradamp /data /work
COPY --from=builder /source/LICENSE /usr/share/doc/gradamp/LICENSE
COPY --from=builder /usr/local/bin/gradamp /usr/local/bin/gradamp
ENV GRADAMP_DATA=/data
VOLUME /data
WORKDIR /work
# A number, so that a host can tell that it is not root.
USER 1000:1000
ENTRYPOINT ["gradamp"]
CMD ["--help"]

FROM cpu AS vulkan
USER 0
# No versions: Debian keeps only the latest of a stable release, which changes nothing but faults.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends libvulkan1 mesa-vulkan-drivers && rm -rf /var/lib/apt/lists/*
USER 1000:1000
