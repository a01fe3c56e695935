#!/usr/bin/env bash
# Makes what docker-compose.yml mounts: certificates, passwords, the key that seals secrets, and the users of NATS and
# Redis. What is there stays; --renew makes every certificate anew. As root, as the files belong to the user that the
# containers run as.
#
#   deploy/prepare.sh --name control.example --name 203.0.113.7 --host n1 --host n2 --admin ada
#
# --name   where agents and people reach it: a DNS name or IP address (beside localhost); agents use the first
# --host   a host that runs an agent: its files are in hosts/NAME, to be copied there
# --admin  a person who may do everything: files in admins/NAME
# --cluster  three nodes of NATS, three of Redis with sentinels (`docker-compose --profile cluster`); once said, it stays.
#          NATS begins empty then: docs/operations.md tells how to take along what a single one has
# --join   machines may join by a token: the scheduler gets the authority's key; once said, it stays
# --state  the folder, default deploy/state (STILLPOINT_STATE)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly services=(operation scheduler vm container checkpoint registry)
readonly nats_nodes=(nats nats-2 nats-3) redis_nodes=(redis redis-2 redis-3) sentinels=(sentinel-1 sentinel-2 sentinel-3)
readonly container_uid=10001
state=${STILLPOINT_STATE:-deploy/state}
new_names=() hosts=() admins=() renew= cluster= joining=

fail() {
  printf 'prepare: %s\n' "$@" >&2
  exit 1
}

while [ $# -gt 0 ]; do
  case $1 in
    --renew) renew=--force && shift && continue ;;
    --cluster) cluster=yes && shift && continue ;;
    --join) joining=yes && shift && continue ;;
    --name | --host | --admin | --state) [ $# -gt 1 ] || fail "$1 needs a value" ;;
    *) fail "what is $1?" 'the first lines of this file tell what it takes' ;;
  esac
  case $1 in
    --name) new_names+=("$2") ;;
    --host) hosts+=("$2") ;;
    --admin) admins+=("$2") ;;
    --state) state=$2 ;;
  esac
  shift 2
done
[ "$(id -u)" = 0 ] || fail 'this needs root: the files belong to the user of the containers'

umask 077
mkdir -p "$state/passwords"
state=$(realpath "$state")

# The names of all calls, the first of them first.
touch "$state/names"
renamed=
for name in ${new_names[@]+"${new_names[@]}"}; do
  if grep -qxF -- "$name" "$state/names"; then continue; fi
  echo "$name" >>"$state/names"
  renamed=--force
done
mapfile -t names <"$state/names"
if [ -n "$cluster" ] && [ ! -e "$state/clustered" ]; then
  touch "$state/clustered"
  renamed=--force
fi
if [ -e "$state/clustered" ]; then cluster=yes; fi
if [ -e "$state/scheduler/authority" ]; then joining=yes; fi

cert() { bin/stillpoint cert "$@" --folder "$state/certificates" -o json >/dev/null; }

# Makes the certificate of KIND NAME unless it is there, and copies it to FOLDER, each file whole at any moment.
certificate() {
  local folder=$1 identity=$2 file
  shift 2
  if [ -n "$renew" ] || [ ! -e "$state/certificates/$identity/tls.crt" ]; then cert "$@" $renew; fi
  mkdir -p "$folder"
  for file in ca.crt tls.key tls.crt; do
    cp "$state/certificates/$identity/$file" "$folder/.$file"
    mv "$folder/.$file" "$folder/$file"
  done
}

password() {
  local file=$state/passwords/$1
  [ -s "$file" ] || openssl rand -hex 24 >"$file"
  cat "$file"
}

write() {
  cat >"$1.new"
  mv "$1.new" "$1"
}

# The templates in deploy/nats and deploy/redis with passwords, or their hashes: of the services, and of the servers
# among each other.
passwords() {
  local service script=()
  for service in "${services[@]}" system route replica sentinel; do
    script+=(-e "s/@$service@/$("$1" "$service")/")
  done
  sed "${script[@]}"
}

hashed() { password "$1" | tr -d '\n' | sha256sum | cut -d ' ' -f 1; }

# The key by which the scheduler tells NATS what hosts may do: makes it unless it is there, and prints its public half.
issuer() {
  bin/stillpoint cert nats-issuer --folder "$state/certificates" -o json | sed -n 's/.*"publicKey": "\([A-Z0-9]*\)".*/\1/p'
}

[ -e "$state/certificates/ca.key" ] || cert ca
at=()
for name in localhost 127.0.0.1 ${names[@]+"${names[@]}"}; do at+=(--at "$name"); done
# The URL of all of NATS's nodes, for USER; hosts are known by their certificates.
nats_url() {
  local user=$1 address url=
  shift
  for address; do url+=${url:+,}tls://${user:+$user:$(password "$user")@}$address; done
  echo "$url"
}

nats=(nats:4222) monitors=http://nats:8222 redis=redis:6379 scheme=rediss path=
at_nats=(--at nats) at_redis=(--at redis)
if [ -n "$cluster" ]; then
  nats=(nats:4222 nats-2:4222 nats-3:4222) monitors=http://nats:8222,http://nats-2:8222,http://nats-3:8222
  redis=sentinel-1:26379,sentinel-2:26379,sentinel-3:26379 scheme=rediss+sentinel path=/stillpoint
  at_nats=() at_redis=()
  for node in "${nats_nodes[@]}"; do at_nats+=(--at "$node"); done
  for node in "${redis_nodes[@]}" "${sentinels[@]}"; do at_redis+=(--at "$node"); done
fi
for service in "${services[@]}"; do
  certificate "$state/$service" "svc/$service" service "$service"
  write "$state/$service/nats-url" <<<"$(nats_url "$service" "${nats[@]}")"
  write "$state/$service/nats-monitor-url" <<<"$monitors"
  write "$state/$service/redis-url" <<<"$scheme://$service:$(password "$service")@$redis$path"
done
renew=${renew:-$renamed} certificate "$state/proxy" svc/proxy service proxy --at proxy "${at[@]}"
renew=${renew:-$renamed} certificate "$state/nats" svc/nats service nats "${at_nats[@]}" "${at[@]}"
renew=${renew:-$renamed} certificate "$state/redis" svc/redis service redis "${at_redis[@]}" "${at[@]}"
for admin in ${admins[@]+"${admins[@]}"}; do
  certificate "$state/admins/$admin" "admin/$admin" admin "$admin"
done
public=${names[0]:-localhost}
public_nats=("$public:${STILLPOINT_NATS_PORT:-4222}")
if [ -n "$cluster" ]; then
  public_nats+=("$public:${STILLPOINT_NATS_2_PORT:-4223}" "$public:${STILLPOINT_NATS_3_PORT:-4224}")
fi
for host in ${hosts[@]+"${hosts[@]}"}; do
  certificate "$state/hosts/$host" "host/$host" host "$host"
  write "$state/hosts/$host/nats-url" <<<"$(nats_url '' "${public_nats[@]}")"
  write "$state/hosts/$host/registry-url" <<<"https://$public:${STILLPOINT_REGISTRY_PORT:-7080}"
done
joined_nats= joined_registry=
if [ -n "$joining" ]; then
  mkdir -p "$state/scheduler/authority"
  cp "$state"/certificates/ca.{crt,key} "$state/scheduler/authority/"
  joined_nats=$(nats_url '' "${public_nats[@]}")
  joined_registry=https://$public:${STILLPOINT_REGISTRY_PORT:-7080}
  cat "$state"/proxy/{tls,ca}.crt | write "$state/proxy/chain.crt"
  write "$state/proxy/joining.conf" <deploy/nginx/joining.conf
fi
write "$state/scheduler/join-nats-url" <<<"$joined_nats"
write "$state/scheduler/join-registry-url" <<<"$joined_registry"
[ -s "$state/container/secrets-key" ] || openssl rand -base64 32 | write "$state/container/secrets-key"
passwords hashed <deploy/redis/users.acl | write "$state/redis/users.acl"
issuer=$(issuer)
passwords password <deploy/nats/users.conf | sed "s/@issuer@/$issuer/" | write "$state/nats/users.conf"
write "$state/scheduler/nats-issuer-seed" <"$state/certificates/nats-issuer.seed"
write "$state/scheduler/nats-system-url" <<<"$(nats_url system "${nats[@]}")"
if [ -n "$cluster" ]; then
  for node in "${nats_nodes[@]}"; do
    mkdir -p "$state/$node"
    [ "$node" = nats ] || cp "$state"/nats/{ca.crt,tls.crt,tls.key,users.conf} "$state/$node/"
    passwords password <deploy/nats/clustered.conf | sed "s/@node@/$node/" | write "$state/$node/node.conf"
  done
  for node in "${redis_nodes[@]}" "${sentinels[@]}"; do
    mkdir -p "$state/$node"
    [ "$node" = redis ] || cp "$state"/redis/{ca.crt,tls.crt,tls.key,users.acl} "$state/$node/"
  done
  for node in "${redis_nodes[@]}"; do
    {
      passwords password <deploy/redis/replicated.conf | sed "s/@node@/$node/"
      [ "$node" = redis ] || echo 'replicaof redis 6379'
    } | write "$state/$node/node.conf"
  done
  for node in "${sentinels[@]}"; do
    passwords hashed <deploy/redis/sentinel.acl | write "$state/$node/sentinel.acl"
    passwords password <deploy/redis/sentinel.conf | sed "s/@node@/$node/" | write "$state/$node/node.conf"
  done
else
  write "$state/nats/node.conf" <deploy/nats/alone.conf
  write "$state/redis/node.conf" </dev/null
fi
for service in "${services[@]}" nats nats-2 nats-3 redis redis-2 redis-3 "${sentinels[@]}" proxy; do
  if [ -e "$state/$service" ]; then chown -R $container_uid:$container_uid "$state/$service"; fi
done
