ARG RUST_VERSION=1.95

FROM rust:${RUST_VERSION}-bookworm AS build
WORKDIR /source
COPY . .
RUN cargo build --release --locked --package cognito-reset-operator --bin cognito-reset-operator

FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="cognito-reset-operator" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /source/target/release/cognito-reset-operator /usr/local/bin/cognito-reset-operator
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/cognito-reset-operator"]
CMD ["run"]
