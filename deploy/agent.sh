#!/usr/bin/env bash
# Runs the agent of this host against a control plane elsewhere, with the files that deploy/prepare.sh made for it in
# hosts/NAME, or that `stillpoint host join` has written: deploy/agent.sh FOLDER
# registry-password there, if any, is the secret of the account host-NAME of the registry, for the container engine.
# AGENT_DATA, AGENT_ADDRESS (0.0.0.0:7071), AGENT_REACHED_AT (the host's name, 7071) and the other variables of
# docs/configuration.md are heeded.
set -euo pipefail
[ $# = 1 ] && [ -r "$1/tls.key" ] || {
  echo 'agent: name the folder with the files of this host' >&2
  exit 1
}
files=$(realpath "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ -e "$files/agent.env" ]; then
  # What is set already counts more.
  while IFS='=' read -r name value; do
    if [ -n "$name" ] && [ -z "${!name:-}" ]; then
      value=${value#\'}
      export "$name=${value%\'}"
    fi
  done <"$files/agent.env"
fi
export AGENT_HOST_NAME=${AGENT_HOST_NAME:-$(basename "$files")}
export AGENT_ADDRESS=${AGENT_ADDRESS:-0.0.0.0:7071}
export AGENT_REACHED_AT=${AGENT_REACHED_AT:-$(hostname -f):${AGENT_ADDRESS##*:}}
export TLS_CA=$files/ca.crt TLS_CERT=$files/tls.crt TLS_KEY=$files/tls.key
[ ! -e "$files/nats-url" ] || export NATS_URL_FILE=$files/nats-url
[ ! -e "$files/registry-url" ] || export REGISTRY_HTTP_URL_FILE=$files/registry-url
if [ -e "$files/registry-password" ]; then
  export STILLPOINT_REGISTRY_USER=${STILLPOINT_REGISTRY_USER:-host-$AGENT_HOST_NAME}
  export STILLPOINT_REGISTRY_PASSWORD_FILE=$files/registry-password
fi
exec node_modules/node/bin/node services/agent/main.ts
