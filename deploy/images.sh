#!/usr/bin/env bash
# Builds the container images of the control plane from this working copy, its node_modules and Debian packages; none is
# pulled. Usage: deploy/images.sh [TAG], default latest. Needs Docker, mmdebstrap, nats-server, and what deploy/setup.sh
# installs. DOCKER_HOST is heeded.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

readonly tag=${1:-latest}
readonly cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/stillpoint/images
readonly base_packages=base-files,base-passwd,usr-is-merged,bash,coreutils,grep,libc-bin,libstdc++6,openssl
readonly server_packages=$base_packages,redis-server,redis-tools,nginx-light

say() { printf 'images: %s\n' "$*"; }

fail() {
  printf 'images: %s\n' "$@" >&2
  exit 1
}

# What it prints is shown, on standard error, only when it fails.
quietly() {
  local log code=0
  log=$("$@" 2>&1) || code=$?
  if [ $code != 0 ]; then printf '%s\n' "$log" >&2; fi
  return $code
}

require() {
  local missing=()
  for program in docker mmdebstrap nats-server tar; do
    command -v "$program" >/dev/null || missing+=("$program")
  done
  [ ${#missing[@]} = 0 ] || fail "missing: ${missing[*]}" 'deploy/setup.sh installs them (on Debian 13 docker-cli too)'
  docker version >/dev/null 2>&1 || fail 'no Docker engine answers' 'start dockerd, or set DOCKER_HOST'
  [ -d libs/contracts/stillpoint ] && [ -x node_modules/node/bin/node ] || fail 'run deploy/setup.sh first'
}

# The sources of the distribution alone: others may need keys and settings of this machine.
apt_sources() {
  local line='deb $(REPO_URI) $(RELEASE) $(COMPONENT)'
  for origin in Debian Ubuntu; do
    apt-get indextargets --format "$line" 'Created-By: Packages' "Origin: $origin"
  done | sort -u
}

# Imports a root of unpacked Debian packages as the image stillpoint/NAME:HASH and prints that; made only once. No script
# of a package runs, so that it needs neither mounts nor daemons.
root_image() {
  local name=$1 packages=$2 hash image archive sources excludes=()
  hash=$( (cat /etc/os-release && declare -f root_image && echo "$packages") | sha256sum | cut -c 1-16)
  image=stillpoint/$name:$hash archive=$cache/$name-$hash.tar
  if docker image inspect "$image" >/dev/null 2>&1; then
    echo "$image"
    return
  fi
  if [ ! -e "$archive" ]; then
    mkdir -p "$cache"
    mapfile -t sources < <(apt_sources)
    for path in /usr/share/{doc,man,info,i18n,locale,perl,perl5,bug,lintian} /usr/lib/*/perl; do
      excludes+=("--dpkgopt=path-exclude=$path*")
    done
    quietly mmdebstrap --quiet --variant=extract --format=tar --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
      --include="$packages" "${excludes[@]}" '' "$archive.$$" "${sources[@]}"
    mv "$archive.$$" "$archive"
  fi
  docker import "$archive" "$image" >/dev/null
  echo "$image"
}

# Node and the production packages of node_modules, without types and maps.
runtime_context() {
  local modules=() parent
  parent=$(dirname "$(realpath node_modules)")
  # What is nested comes with the module that it is in.
  mapfile -t modules < <(node_modules/node/bin/node --print '
    const { packages } = JSON.parse(fs.readFileSync("node_modules/.package-lock.json", "utf8"));
    const isTop = (path) => /^node_modules\/(@[^/]+\/)?[^/]+$/.test(path) && !path.includes("/@types/");
    Object.keys(packages).filter((path) => isTop(path) && !packages[path].dev && !packages[path].devOptional).join("\n")')
  tar --create --exclude='*.d.ts' --exclude='*.d.mts' --exclude='*.d.cts' --exclude='*.map' \
    --directory="$PWD" deploy/runtime.Dockerfile --directory="$(realpath node_modules/node/bin)" node \
    --directory="$parent" "${modules[@]}"
}

# The services that run in containers, without their tests.
service_context() {
  tar --create --exclude='*.test.ts' --exclude='libs/testing' --exclude='libs/*/testing' \
    --exclude='services/*/testing' --exclude='services/agent' package.json libs services deploy/Dockerfile deploy/image
}

server_context() {
  local nats
  nats=$(realpath "$(command -v nats-server)")
  tar --create --directory="$PWD" deploy/servers.Dockerfile deploy/image deploy/nginx/start deploy/redis/start deploy/redis/health \
    --directory="$(dirname "$nats")" "$(basename "$nats")"
}

# build IMAGE DOCKERFILE OPTIONS..., with the context as a tar archive on standard input.
build() {
  local image=stillpoint/$1 file=$2
  shift 2
  say "building $image"
  quietly docker build --network none --force-rm --tag "$image" --file "$file" "$@" -
}

require
say 'making the roots of Debian packages (only the first time)'
# Both at once: they wait for the network.
roots=$(mktemp -d)
trap 'rm -rf "$roots"' EXIT
root_image servers "$server_packages" >"$roots/servers" &
making=$!
root_image base "$base_packages" >"$roots/base"
wait $making || fail 'the root with the servers could not be made'
base=$(cat "$roots/base") servers=$(cat "$roots/servers")
for target in nats redis nginx; do
  server_context | build "$target:$tag" deploy/servers.Dockerfile --target "$target" \
    --build-arg "BASE=$base" --build-arg "SERVERS=$servers"
done
runtime=runtime:$( (echo "$base" && cat deploy/runtime.Dockerfile node_modules/.package-lock.json) | sha256sum | cut -c 1-16)
if ! docker image inspect "stillpoint/$runtime" >/dev/null 2>&1; then
  runtime_context | build "$runtime" deploy/runtime.Dockerfile --build-arg "BASE=$base"
fi
service_context | build "control-plane:$tag" deploy/Dockerfile --build-arg "BASE=stillpoint/$runtime"
