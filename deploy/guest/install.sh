#!/bin/sh
# Installs Stillpoint's guest tools on Debian, Ubuntu and the like: see --help. Safe to run again.
set -eu

usage() {
  cat <<END
usage: install.sh [--uninstall]

Makes QEMU's guest agent call a freeze hook that asks databases to hold still for a production checkpoint:
  /etc/qemu/fsfreeze-hook and fsfreeze-hook.d/    the hook and its writers
  /etc/stillpoint/writers.conf                    its settings, left as they are when they exist
  a drop-in for qemu-guest-agent.service that adds -F, and a service that takes the inventory at boot
The guest agent is installed with apt-get when it is missing; nothing else uses the network.

  --uninstall   removes all of it but writers.conf and the guest agent
END
}

here=$(cd "$(dirname "$0")" && pwd)
hook=/etc/qemu/fsfreeze-hook
writers='mysql postgresql redis sqlite'
drop_in=/etc/systemd/system/qemu-guest-agent.service.d/stillpoint.conf
service=/etc/systemd/system/stillpoint-inventory.service
defaults=/etc/default/qemu-guest-agent
mark='# Stillpoint: the freeze hook'

fail() {
  echo "install.sh: $*" >&2
  exit 1
}

check_system() {
  [ "$(id -u)" = 0 ] || fail 'must be run as root'
  command -v dpkg-divert >/dev/null || fail 'this is no Debian-like system; README.md lists the files to copy'
}

install_agent() {
  if command -v qemu-ga >/dev/null; then return; fi
  { apt-get -q update && apt-get -q install -y --no-install-recommends qemu-guest-agent; } ||
    fail 'apt-get could not install qemu-guest-agent; install the package by hand and run this again'
}

# The package of the agent has a hook of the same name, whose failures stop nothing: it steps aside.
install_files() {
  mkdir -p $hook.d /etc/stillpoint
  dpkg-divert --quiet --local --rename --divert $hook.distrib --add $hook
  install -m 0755 "$here/fsfreeze-hook" $hook
  install -m 0644 "$here/fsfreeze-hook.d/prelude.sh" $hook.d/prelude.sh
  for writer in $writers; do install -m 0755 "$here/fsfreeze-hook.d/$writer" $hook.d/; done
  [ -e /etc/stillpoint/writers.conf ] || install -m 0644 "$here/writers.conf" /etc/stillpoint/
}

# The unit of the agent as it is, with -F; other init systems read the arguments from /etc/default.
install_services() {
  unit=''
  for folder in /lib/systemd/system /usr/lib/systemd/system; do
    [ ! -r $folder/qemu-guest-agent.service ] || unit=$folder/qemu-guest-agent.service
  done
  if [ -n "$unit" ]; then
    mkdir -p "${drop_in%/*}"
    command=$(sed -n 's/^ExecStart=//p' $unit | tail -n 1)
    case $command in *fsfreeze-hook*) ;; *) command="$command -F$hook" ;; esac
    printf '[Service]\nExecStart=\nExecStart=%s\n' "$command" >$drop_in
    install -m 0644 "$here/stillpoint-inventory.service" $service
    mkdir -p /etc/systemd/system/multi-user.target.wants
    ln -sf ../stillpoint-inventory.service /etc/systemd/system/multi-user.target.wants/
  else
    grep -qsF "$mark" $defaults || printf '%s\nDAEMON_ARGS="${DAEMON_ARGS-} -F%s"\n' "$mark" $hook >>$defaults
  fi
}

uninstall() {
  if [ -e $hook.distrib ] || dpkg-divert --list $hook | grep -q local; then
    rm -f $hook
    dpkg-divert --quiet --local --rename --remove $hook
  fi
  for writer in prelude.sh $writers; do rm -f "$hook.d/$writer"; done
  rmdir $hook.d 2>/dev/null || true
  rm -f $drop_in $service /etc/systemd/system/multi-user.target.wants/stillpoint-inventory.service
  rmdir "${drop_in%/*}" 2>/dev/null || true
  [ ! -e $defaults ] || sed -i "/^$mark\$/,+1d" $defaults
}

# In a chroot, or while an image is built, there is no systemd to tell.
restart_agent() {
  [ -d /run/systemd/system ] || return 0
  systemctl daemon-reload
  systemctl try-restart qemu-guest-agent.service
}

case ${1-} in
'')
  check_system
  install_agent
  install_files
  install_services
  restart_agent
  $hook inventory
  echo "installed; $(cat /run/stillpoint/inventory.json)"
  ;;
--uninstall)
  check_system
  uninstall
  restart_agent
  echo 'removed; /etc/stillpoint/writers.conf is left'
  ;;
--help | -h) usage ;;
*)
  usage >&2
  exit 2
  ;;
esac
