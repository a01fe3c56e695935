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
# --state  the folder, default deploy/state (STILLPOINT_STATE)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly services=(operation scheduler vm container checkpoint registry)
readonly container_uid=10001
state=${STILLPOINT_STATE:-deploy/state}
new_names=() hosts=() admins=() renew=

fail() {
  printf 'prepare: %s\n' "$@" >&2
  exit 1
}

while [ $# -gt 0 ]; do
  case $1 in
    --renew) renew=--force && shift && continue ;;
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

# The templates deploy/nats/users.conf and deploy/redis/users.acl with the passwords of the services, or their hashes.
passwords() {
  local service script=()
  for service in "${services[@]}"; do
    script+=(-e "s/@$service@/$("$1" "$service")/")
  done
  sed "${script[@]}"
}

hashed() { password "$1" | tr -d '\n' | sha256sum | cut -d ' ' -f 1; }

host_users() {
  local folder host
  for folder in "$state"/hosts/*/; do
    [ -e "$folder" ] || continue
    host=$(basename "$folder")
    sed -e "s/@host@/$host/; s/@password@/$(password "host-$host")/" deploy/nats/host.conf
  done
}

[ -e "$state/certificates/ca.key" ] || cert ca
at=()
for name in localhost 127.0.0.1 ${names[@]+"${names[@]}"}; do at+=(--at "$name"); done
for service in "${services[@]}"; do
  certificate "$state/$service" "svc/$service" service "$service"
  write "$state/$service/nats-url" <<<"tls://$service:$(password "$service")@nats:4222"
  write "$state/$service/redis-url" <<<"rediss://$service:$(password "$service")@redis:6379"
done
for service in nats redis proxy; do
  renew=${renew:-$renamed} certificate "$state/$service" "svc/$service" service "$service" --at $service "${at[@]}"
done
for admin in ${admins[@]+"${admins[@]}"}; do
  certificate "$state/admins/$admin" "admin/$admin" admin "$admin"
done
public=${names[0]:-localhost}
for host in ${hosts[@]+"${hosts[@]}"}; do
  certificate "$state/hosts/$host" "host/$host" host "$host"
  write "$state/hosts/$host/nats-url" <<<"tls://host-$host:$(password "host-$host")@$public:${STILLPOINT_NATS_PORT:-4222}"
  write "$state/hosts/$host/registry-url" <<<"https://$public:${STILLPOINT_REGISTRY_PORT:-7080}"
done
[ -s "$state/container/secrets-key" ] || openssl rand -base64 32 | write "$state/container/secrets-key"
passwords hashed <deploy/redis/users.acl | write "$state/redis/users.acl"
{
  passwords password <deploy/nats/users.conf | sed '/@hosts@/,$d'
  host_users
  sed '1,/@hosts@/d' deploy/nats/users.conf
} | write "$state/nats/users.conf"
for service in "${services[@]}" nats redis proxy; do chown -R $container_uid:$container_uid "$state/$service"; done
