# kpeering's own image (the last stage) and that of the example applications (--target examples). Built by scripts/images;
# by hand, from the top of the checkout:
#   docker build -t kpeering/kpeering:dev .
# BASE is a Debian with Node and npm; nothing of it is in the images but what scripts/image/root.sh takes.
ARG NODE_VERSION=24
ARG BASE=docker.io/library/node:${NODE_VERSION}-bookworm-slim

# The code is compiled on the builder's own platform, and its dependencies are those of the image's.
FROM --platform=${BUILDPLATFORM} ${BASE} AS code
ARG TARGETARCH
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts
RUN mkdir /target && cp package.json package-lock.json .npmrc /target && cd /target \
  && npm ci --omit=dev --ignore-scripts --os=linux --libc=glibc --cpu="$(echo "${TARGETARCH}" | sed 's/amd64/x64/; s/^386$/ia32/')"
COPY . .
RUN node_modules/.bin/tsc -p tsconfig.build.json --outDir /compiled \
  && node --experimental-import-meta-resolve scripts/image/collect.ts /compiled /target \
    "$(echo "${TARGETARCH}" | sed 's/amd64/x64/; s/^386$/ia32/')" /code

# The programs are the image's platform's own.
FROM ${BASE} AS programs
RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends busybox nftables >/dev/null
COPY scripts/image/root.sh /src/scripts/image/
COPY deploy/examples/apps /src/deploy/examples/apps
COPY --from=code /code /code
RUN NODE=$(command -v node) CODE=/code sh /src/scripts/image/root.sh kpeering /images/kpeering \
  && NODE=$(command -v node) sh /src/scripts/image/root.sh examples /images/examples

FROM scratch AS examples
COPY --from=programs /images/examples/ /
ENTRYPOINT ["/usr/bin/node", "/opt/examples/main.js"]

# Without a securityContext it is an ordinary user; in tproxy mode the injector sets user 0 and the one capability NET_RAW.
FROM scratch AS kpeering
COPY --from=programs /images/kpeering/ /
USER 15300:15300
ENTRYPOINT ["/opt/kpeering/bin/supervise.sh"]
