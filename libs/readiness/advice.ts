/** What a person can do about each reason why a checkpoint is refused or weaker, or would be. */
const advice: Readonly<Record<string, string>> = {
  "agent.absent": "Install qemu-guest-agent in the guest, start it, and try again.",
  "agent.unresponsive": "Restart qemu-guest-agent in the guest, and look whether the guest is overloaded.",
  "agent.rpc_disabled": "Allow guest-fsfreeze-freeze in the guest agent's configuration.",
  "agent.already_frozen": "Someone else froze the guest: end that backup, or thaw with: fsfreeze -u in the guest.",
  "policy.disabled": "Allow checkpoints with: stillpoint vm set NAME --checkpoint-type production",
  "vm.paused": "Resume the VM, and try again.",
  "vm.crashed": "Start the VM so that it recovers its file systems, and try again.",
  "freeze.error": "Look at qemu-guest-agent's log in the guest.",
  "freeze.none_frozen": "The guest has no file system that can be frozen: mount its disks with one that can.",
  "hook.failed": "A freeze hook or writer in the guest failed: look at its log in the guest.",
  "freeze.window_exceeded": "Writers took too long: make them quiesce faster, or try when the guest has less to do.",
  "freeze.interrupted": "The agent on the VM's host was restarted meanwhile: try again.",
  "group.member_failed": "See why the VM that the reason names was not reached.",
  "thaw.error": "Look at qemu-guest-agent's log in the guest.",
  "thaw.count_mismatch": "File systems were mounted, unmounted or thawed meanwhile: try again.",
  "vss.limit_10s": "VSS thaws by itself after 10 s: try when the guest has less to do.",
  "disk.excluded": "Ask for production-only, or include the disk.",
  "host.unsupported": "The host cannot do this; see: stillpoint host get",
  "production.failed": "Look in the log of the agent on the VM's host.",
  "quiesce.absent": "Give the container a quiesce command, or allow the type production.",
  "quiesce.failed": "Run the quiesce command in the container: it must print ready, hold, and end with 0.",
  "quiesce.timeout": "Make the quiesce command faster, or the container's pause window longer.",
  "pause.window_exceeded": "Make the pause window longer, or try when the container writes less.",
  "pause.interrupted": "The agent on the container's host was restarted meanwhile: try again.",
  "container.paused": "Let it go on with the engine that paused it, and try again.",
  "container.restarting": "Wait until it runs or has ended; its logs say why it is started again.",
  "volume.left_out": "Keep in it what a restored container does not need.",
  "criu.absent": "The host cannot save the memory of containers: give it a quiesce command.",
  "tx.failed": "Look at the VM's log on its host.",
  "space.insufficient": "Free space on the host.",
  "space.insufficient_for_ram": "Free space on the host: a standard checkpoint may need as much as the VM's memory.",
  "ram.blocked_device": "Remove the device that the message names; production checkpoints need no RAM.",
  "ram.uffd_unavailable": "Set vm.unprivileged_userfaultfd=1 on the host, and start the agent again.",
  "hooks.disabled": "Start qemu-guest-agent with -F/etc/qemu/fsfreeze-hook: deploy/guest has what it takes.",
  "hooks.unknown": "Allow guest-file-open, -read and -close in the guest agent's configuration.",
  "writers.missing": "Configure a writer for what runs in the guest: see deploy/guest/README.md.",
  "writers.unknown": "Install the guest tools of deploy/guest, or run in the guest: /etc/qemu/fsfreeze-hook inventory",
  "mount.not_freezable": "Keep what matters on a file system that can be frozen, such as ext4 or xfs.",
  "mounts.unknown": "Allow guest-get-fsinfo in the guest agent's configuration.",
  "verify.unclean":
    "The frozen image was not clean: look for file systems in the guest that the agent does not freeze.",
};

/** What to do next about a reason code; general advice for one that is not known. */
export function adviceFor(code: string): string {
  return advice[code] ?? "Mend what the reason names, or allow the type production.";
}
