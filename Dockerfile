# Both images are named by digest, of an index of several platforms; the tags only say what they are. To renew one:
#   docker buildx imagetools inspect gcr.io/distroless/cc-debian12:nonroot
# The Rust of the first has to be the Debian of the second.
FROM docker.io/library/rust:1.95-bookworm@sha256:6258907abe69656e41cd992e0b705cdcfabcbbe3db374f92ed2d47121282d4a1 AS build
WORKDIR /source
# Writes the list of dependencies into the binary, where scanners look for it. The version is that of the Makefile.
RUN cargo install cargo-auditable --version 0.7.7 --locked
COPY . .
RUN cargo auditable build --release --locked --package cognito-reset-operator --bin cognito-reset-operator

# glibc, certificates and nothing to run: no shell and no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot@sha256:9dac0a79194e45a7da0158a9c6da57b217585af0786db3845d1f0ec1a0dd182f
LABEL org.opencontainers.image.title="cognito-reset-operator" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build --chown=0:0 --chmod=0555 /source/target/release/cognito-reset-operator /usr/local/bin/cognito-reset-operator
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/cognito-reset-operator"]
CMD ["run"]
