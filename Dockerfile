# SPDX-License-Identifier: MIT
# The server in a container; docs/DOCKER.md says how to use it. Nothing but apt needs the network.
FROM debian:bookworm-slim AS build
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        gcc libc6-dev make autoconf automake pkg-config zlib1g-dev libyaml-dev libjansson-dev \
 && apt-get clean && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN autoreconf -fi \
 && ./configure --disable-tests \
 && make -j"$(nproc)" \
 && make install-strip DESTDIR=/out

FROM debian:bookworm-slim
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        zlib1g libyaml-0-2 libjansson4 \
 && apt-get clean && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 capricorn \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin capricorn
COPY --from=build /out/ /

# A number, so that an orchestrator can see that it is not root. Nothing is written but the segment
# in /dev/shm: the root file system may be read-only.
USER 10001:10001
# ./capricorn.yaml is read here, and ./app.so lies here.
WORKDIR /app
ENV BIND=0.0.0.0:8000
EXPOSE 8000
STOPSIGNAL SIGTERM
# It asks for 5 s at most by itself.
HEALTHCHECK --interval=10s --timeout=8s --start-period=60s --retries=3 \
    CMD ["capricorn", "--health"]
# It is PID 1, and reaps what others leave: no init is needed.
ENTRYPOINT ["capricorn"]
