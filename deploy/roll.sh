#!/usr/bin/env bash
# Replaces the replicas of the control plane's services by new ones, of the images and the configuration as they are now,
# one service after the other: new ones beside the old, and when they serve, the old ones end. No call fails meanwhile.
# For docker-compose.yml, as root: deploy/roll.sh [SERVICE...]; all services when none is named.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

services=("$@")
[ $# -gt 0 ] || services=(operation scheduler registry vm container checkpoint)
readonly wait_seconds=120
compose=(docker-compose)
command -v docker-compose >/dev/null || compose=(docker compose)

fail() {
  printf 'roll: %s\n' "$@" >&2
  exit 1
}

# Ids of those of a service that run, one a line.
running() { "${compose[@]}" ps -q "$1" | xargs -r docker inspect --format '{{if .State.Running}}{{.Id}}{{end}}' | sed '/^$/d'; }

healthy() {
  local health
  health=$(docker inspect --format '{{.State.Health.Status}}' "$@" | sort -u)
  [ "$health" = healthy ]
}

for service in "${services[@]}"; do
  mapfile -t old < <(running "$service")
  [ ${#old[@]} -gt 0 ] || fail "no replica of $service runs: docker-compose up --detach"
  # What lies there stopped would be started again instead of a new one.
  "${compose[@]}" rm --force -v "$service" >/dev/null 2>&1
  "${compose[@]}" up --detach --no-deps --no-recreate --scale "$service=$((2 * ${#old[@]}))" "$service" >/dev/null 2>&1 ||
    fail "docker-compose could not start new replicas of $service"
  mapfile -t new < <(running "$service" | grep -vxF "$(printf '%s\n' "${old[@]}")")
  [ ${#new[@]} -gt 0 ] || fail "no new replica of $service was started"
  for ((second = 0; ; second++)); do
    if healthy "${new[@]}"; then break; fi
    if [ $second = $wait_seconds ]; then
      docker rm --force --volumes "${new[@]}" >/dev/null
      fail "the new replicas of $service do not serve after $wait_seconds s, and were removed; the old ones are as they were"
    fi
    sleep 1
  done
  # nginx looks for new addresses every two seconds.
  sleep 4
  for container in "${old[@]}"; do
    docker stop "$container" >/dev/null
    docker rm --volumes "$container" >/dev/null
  done
  echo "$service: ${#new[@]} new"
done
