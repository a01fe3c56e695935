#!/usr/bin/env bash
# Installs what Stillpoint needs and this machine lacks, and says what; a second run finds nothing to do.
# With the word `tests`, also what only the tests need: a recent Docker engine, compose, an S3 store, other clients
# of registries, what images are made with.
# With the word `bench`, all that and what the benchmarks compare with and measure by.
# For Debian and Ubuntu, as root or with sudo. No service is left running or enabled that was not there before.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin # where a user's PATH lacks them

readonly nats_minimum=2.10.27 # the first whose replicated streams keep what they acknowledged
readonly engine_minimum=25    # older ones take long to give a container its network; for tests and benchmarks
readonly node_major=24

# What is looked for, and the package that has it.
requirements=(
  qemu-system-x86_64:qemu-system-x86
  qemu-img:qemu-utils
  redis-server:redis-server
  skopeo:skopeo
  openssl:openssl
  mke2fs:e2fsprogs
  debugfs:e2fsprogs
  cpio:cpio
  lz4:lz4
  xz:xz-utils
  setpriv:util-linux
  rsync:rsync
  bwrap:bubblewrap
  sysctl:procps
  /etc/ssl/certs/ca-certificates.crt:ca-certificates
)
readonly for_tests=(
  ceph-mon:ceph-mon
  ceph-osd:ceph-osd
  radosgw:radosgw
  mmdebstrap:mmdebstrap
  docker-compose:docker-compose
  podman:podman
  buildah:buildah
  ip:iproute2
  iptables:iptables
  nginx:nginx-light
)
readonly for_bench=(
  docker-registry:docker-registry
  wrk:wrk
  ab:apache2-utils
  curl:curl
)
case ${1-} in
'') ;;
tests) requirements+=("${for_tests[@]}") ;;
bench) requirements+=("${for_tests[@]}" "${for_bench[@]}") ;;
*)
  echo "usage: ${0##*/} [tests|bench]" >&2
  exit 2
  ;;
esac
readonly requirements

say() { printf 'setup: %s\n' "$*"; }

fail() {
  printf 'setup: %s\n' "$@" >&2
  exit 1
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    fail "this needs root: $*" 'run it as root, or install sudo'
  fi
}

require_debian() {
  local ID='' ID_LIKE='' VERSION_CODENAME=''
  # shellcheck source=/dev/null
  if [ -r /etc/os-release ]; then . /etc/os-release; fi
  distribution=$ID release=$VERSION_CODENAME
  case " $ID $ID_LIKE " in *' debian '* | *' ubuntu '*) return ;; esac
  fail "this machine is not Debian or Ubuntu (it says ${ID:-nothing}); install these by hand:" \
    "  Node.js $node_major or any older one with npm" \
    "  nats-server $nats_minimum or later" \
    "  ${requirements[*]%%:*}" \
    '  the sysctl vm.unprivileged_userfaultfd=1' \
    'then: npm install && npm run generate (the test guest is made of Debian packages and needs apt)'
}

missing_packages() {
  local requirement found package
  if ! command -v npm >/dev/null; then echo nodejs npm; fi
  for requirement in "${requirements[@]}"; do
    found=${requirement%%:*} package=${requirement##*:}
    if [ ! -e "$found" ] && ! command -v "$found" >/dev/null; then echo "$package"; fi
  done
}

# apt says much; it is shown only when it fails.
apt_quietly() {
  local log
  log=$(as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 "$@" 2>&1) && return
  printf '%s\n' "$log" >&2
  return 1
}

update_apt() {
  if [ -n "${apt_updated-}" ]; then return; fi
  apt_updated=yes
  apt_quietly update || say 'apt-get update failed; going on with the package lists at hand'
}

# Debian starts and enables a daemon as soon as its package is installed. Here the demo and the tests start their own.
without_services() {
  local policy=/usr/sbin/policy-rc.d code=0
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
  else
    policy=
  fi
  "$@" || code=$?
  if [ -n "$policy" ]; then
    as_root rm -f "$policy"
    trap - EXIT
  fi
  return $code
}

# The helper of Debian's packages does nothing unless it is called for one of them.
disable_units() { as_root env DPKG_MAINTSCRIPT_PACKAGE=stillpoint deb-systemd-helper disable "$@" >/dev/null 2>&1 || true; }

disable_services_of() {
  local package
  for package; do
    case $package in
    nats-server) disable_units nats-server.service ;;
    redis-server) disable_units redis-server.service ;;
    docker.io) disable_units docker.service docker.socket containerd.service ;;
    docker-registry) disable_units docker-registry.service ;;
    podman) disable_units podman.socket podman{,-auto-update,-restart}.service podman-auto-update.timer ;;
    radosgw) disable_units ceph.target ceph-crash.service ;;
    nginx-light) disable_units nginx.service ;;
    esac
  done
}

install_packages() {
  local packages
  mapfile -t packages < <(missing_packages | tr ' ' '\n' | sort -u)
  if [ ${#packages[@]} = 0 ]; then return; fi
  say "installing ${packages[*]}"
  update_apt
  without_services apt_quietly install --no-install-recommends "${packages[@]}" ||
    fail "apt could not install ${packages[*]}" 'see its messages above, mend the apt sources, and run this again'
  disable_services_of "${packages[@]}"
}

# at_least VERSION MINIMUM; no version is less than any.
at_least() { [ -n "$1" ] && [ "$(printf '%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

version_of() {
  if command -v "$1" >/dev/null; then "$1" --version | sed 's/^[^0-9]*\([0-9.]*\).*/\1/'; fi
}

# Those of the packages that apt can get; its options may come before them.
known_to_apt() { apt-cache madison "$@" 2>/dev/null | sed -n 's/^ *\([^ ]*\) .* Packages$/\1/p' | sort -u; }

# install_recent PROGRAM MINIMUM PACKAGE...: of the packages those that there are, from the machine's own release if its
# first one is recent enough, else from a newer suite. Installed where the program is missing or older.
install_recent() {
  local program=$1 minimum=$2 package=$3 packages=("${@:3}") found folder code=0
  found=$(version_of "$program")
  if at_least "$found" "$minimum"; then return; fi
  update_apt
  if at_least "$(apt-cache policy "$package" | sed -n 's/^ *Candidate: *//p')" "$minimum"; then
    mapfile -t packages < <(known_to_apt "${packages[@]}")
    say "installing ${packages[*]}"
    without_services apt_quietly install --no-install-recommends "${packages[@]}" || code=$?
  else
    folder=$(mktemp -d)
    install_from_newer_suite "$folder" "${packages[@]}" || code=$?
    rm -rf "$folder"
  fi
  if [ $code != 0 ] || ! at_least "$(version_of "$program")" "$minimum"; then
    fail "could not install $package $minimum or later" 'install it by hand, so that it is on the PATH'
  fi
  if [ -z "$found" ]; then disable_services_of "${packages[@]}"; fi
}

# Takes these packages from a newer suite of the archive that the machine already uses, with lists of its own: the
# machine's apt configuration stays as it is, and nothing else is ever taken from there.
install_from_newer_suite() {
  local folder=$1 suite=trixie component=main keyring=/usr/share/keyrings/$distribution-archive-keyring.gpg signed=
  if [ "$distribution" = ubuntu ]; then suite=resolute component=universe; fi
  if [ -r "$keyring" ]; then signed="[signed-by=$keyring] "; fi
  apt-get indextargets --format "deb $signed\$(REPO_URI) $suite $component" \
    'Created-By: Packages' "Release: $release" "Component: $component" | sort -u >"$folder/sources.list"
  local apt=(-q -o "Dir::Etc::sourcelist=$folder/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o "Dir::State::lists=$folder/lists" -o "Dir::Cache=$folder" -o "APT::Sandbox::User=$(id -un)") packages
  mkdir -p "$folder/lists/partial" "$folder/archives/partial"
  apt-get "${apt[@]}" update >"$folder/log" 2>&1 && mapfile -t packages < <(known_to_apt "${apt[@]}" "${@:2}") &&
    (cd "$folder" && apt-get "${apt[@]}" download "${packages[@]}") >>"$folder/log" 2>&1 ||
    { cat "$folder/log" >&2 && return 1; }
  say "installing ${packages[*]} from $suite (alone; $release has older ones)"
  chmod 755 "$folder"
  without_services apt_quietly install --no-install-recommends "$folder"/*.deb
}

# QEMU write-protects a guest's RAM through userfaultfd while it saves it; unless it is root, the kernel must allow that.
allow_userfaultfd() {
  local setting=/proc/sys/vm/unprivileged_userfaultfd
  if [ ! -e "$setting" ] || [ "$(cat "$setting")" = 1 ]; then return; fi
  if as_root sysctl -q vm.unprivileged_userfaultfd=1 2>/dev/null; then
    echo vm.unprivileged_userfaultfd=1 | as_root tee /etc/sysctl.d/60-stillpoint.conf >/dev/null
    say 'set vm.unprivileged_userfaultfd=1 (/etc/sysctl.d/60-stillpoint.conf), for standard checkpoints with a short pause'
  else
    say 'vm.unprivileged_userfaultfd cannot be set here; standard checkpoints pause longer unless QEMU runs as root'
  fi
}

hash_of() { cat "$@" | sha256sum | cut -d ' ' -f 1; }

install_modules() {
  local stamp=node_modules/.setup-stamp
  if [ "$(cat "$stamp" 2>/dev/null)" = "$(hash_of package.json package-lock.json .npmrc)" ]; then return; fi
  say 'installing the npm packages of package-lock.json'
  npm install --no-save --no-audit --no-fund --loglevel=error
  check_node
  hash_of package.json package-lock.json .npmrc >"$stamp"
}

# Node itself is an npm package that fetches the runtime in its install script; npm may be told to run none.
check_node() {
  local version
  version=$(node_modules/.bin/node --version 2>&1) || true
  case $version in v$node_major.*) return ;; esac
  fail "node_modules/.bin/node is not Node $node_major (it says: ${version:-nothing})" \
    "its install script did not run; allow it (npm config get ignore-scripts must say false), then: npm rebuild node"
}

generate_contracts() {
  local stamp=libs/contracts/.setup-stamp now
  now=$(find proto buf.yaml buf.gen.yaml node_modules/ts-proto/package.json -type f | LC_ALL=C sort | xargs sha256sum | sha256sum)
  if [ "$(cat "$stamp" 2>/dev/null)" = "$now" ]; then return; fi
  say 'generating the contracts from proto/'
  npm run --silent generate
  echo "$now" >"$stamp"
}

require_debian
install_packages
install_recent nats-server $nats_minimum nats-server
case ${1-} in tests | bench) install_recent dockerd $engine_minimum docker.io docker-cli ;; esac
allow_userfaultfd
install_modules
generate_contracts
