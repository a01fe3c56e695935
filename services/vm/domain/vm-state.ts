/**
 * The life of a VM. States are the API's own words, so that nothing has to be translated.
 *
 * | state    | what is true                                              | what leaves it                             |
 * |----------|-----------------------------------------------------------|--------------------------------------------|
 * | CREATING | an operation makes it; it may have no host yet            | the end of that operation, or its removal  |
 * | STOPPED  | its disks are on its host, no QEMU                        | start, delete                              |
 * | RUNNING  | QEMU runs the guest                                       | stop, pause, delete --force, guest shutdown, crash |
 * | PAUSED   | QEMU holds the guest still because somebody asked for it  | resume, stop --force, delete --force, crash |
 * | CRASHED  | QEMU ended without a guest shutdown; disks as they were   | start, stop (which acknowledges), delete   |
 * | DELETING | an operation removes it; parts may be gone                | the end of that operation                  |
 * | FAILED   | its creation or deletion failed half-way, or its host was lost | delete                                |
 */
type State =
  | "VM_STATE_CREATING"
  | "VM_STATE_STOPPED"
  | "VM_STATE_RUNNING"
  | "VM_STATE_PAUSED"
  | "VM_STATE_CRASHED"
  | "VM_STATE_DELETING"
  | "VM_STATE_FAILED";

/** What may be asked of a VM that exists. */
export type Action =
  | "start"
  | "stop"
  | "reboot"
  | "pause"
  | "resume"
  | "delete"
  | "exec"
  | "update"
  | "move"
  | "recover";

/** In these states an action makes sense; what is there already (start of a running VM) is success with nothing to do. */
const allowed: Readonly<Record<Action, readonly State[]>> = {
  start: ["VM_STATE_STOPPED", "VM_STATE_CRASHED", "VM_STATE_RUNNING"],
  stop: ["VM_STATE_RUNNING", "VM_STATE_STOPPED", "VM_STATE_CRASHED"],
  reboot: ["VM_STATE_RUNNING"],
  pause: ["VM_STATE_RUNNING", "VM_STATE_PAUSED"],
  resume: ["VM_STATE_PAUSED", "VM_STATE_RUNNING"],
  delete: ["VM_STATE_STOPPED", "VM_STATE_CRASHED", "VM_STATE_FAILED", "VM_STATE_DELETING", "VM_STATE_CREATING"],
  exec: ["VM_STATE_RUNNING"],
  // As its record says, which knows nothing newer of a host that is down.
  recover: ["VM_STATE_RUNNING"],
  move: ["VM_STATE_RUNNING", "VM_STATE_STOPPED", "VM_STATE_CRASHED"],
  // Of what its host has to know: whether it is guarded is decided when it starts.
  update: ["VM_STATE_STOPPED", "VM_STATE_CRASHED"],
};

/** Force ends QEMU, whatever the guest is doing. */
const allowedByForce: Readonly<Partial<Record<Action, readonly State[]>>> = {
  stop: ["VM_STATE_PAUSED"],
  reboot: ["VM_STATE_PAUSED"],
  delete: ["VM_STATE_RUNNING", "VM_STATE_PAUSED"],
  // Paused by its host's guard, not by a person; or it ended with its host, and could not be recovered.
  recover: ["VM_STATE_PAUSED", "VM_STATE_CRASHED"],
};

/** Why an action is refused in a state, and what to do; undefined when it is allowed. */
export function refusal(
  action: Action,
  state: string,
  force = false,
): { readonly message: string; readonly help: string } | undefined {
  const may = (states: readonly State[] | undefined) => states?.some((one) => one === state) ?? false;
  if (may(allowed[action]) || (force && may(allowedByForce[action]))) return undefined;
  const forced = may(allowedByForce[action]);
  return { message: `is ${inWords(state)}`, help: forced ? forcedHelp(action, state) : help(action, state) };
}

/** "VM_STATE_RUNNING" to "running". */
const inWords = (state: string): string => state.replace("VM_STATE_", "").toLowerCase();

function forcedHelp(action: Action, state: string): string {
  const first = state === "VM_STATE_PAUSED" ? "Resume it first" : "Stop it first";
  return `${first}, or pass --force to ${action} it as it is.`;
}

function help(action: Action, state: string): string {
  if (action === "update" && hasGuest(state)) return "Stop it first.";
  switch (state) {
    case "VM_STATE_PAUSED":
      return "Resume it first.";
    case "VM_STATE_STOPPED":
    case "VM_STATE_CRASHED":
      return "Start it first.";
    case "VM_STATE_FAILED":
      return "It is not whole: delete it and make it again.";
    default:
      return `Wait until it is made or gone before you ${action} it.`;
  }
}

/** What happened, seen from outside, when a VM went from one state to another; undefined when nothing did. */
export function happened(from: string, to: string): string | undefined {
  if (from === to) return undefined;
  switch (to) {
    case "VM_STATE_RUNNING":
      return from === "VM_STATE_PAUSED" ? "resumed" : "started";
    case "VM_STATE_STOPPED":
      return from === "VM_STATE_CREATING" ? undefined : "stopped";
    case "VM_STATE_PAUSED":
      return "paused";
    case "VM_STATE_CRASHED":
      return "crashed";
    default:
      return undefined;
  }
}

/** True where QEMU runs, and so a guest's agent may answer. */
export const hasGuest = (state: string): boolean => state === "VM_STATE_RUNNING" || state === "VM_STATE_PAUSED";
