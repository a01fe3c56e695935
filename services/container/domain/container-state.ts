/**
 * The life of a container. States are the API's own words, so that nothing has to be translated.
 *
 * | state      | what is true                                                | what leaves it                                     |
 * |------------|-------------------------------------------------------------|----------------------------------------------------|
 * | CREATING   | an operation makes it; it may have no host yet              | the end of that operation, or its removal          |
 * | STOPPED    | it is in the engine of its host and was made or stopped so  | start, delete                                      |
 * | RUNNING    | its process runs                                            | stop, kill, delete --force, the end of the process |
 * | PAUSED     | it stands still, for a checkpoint or for want of a lease    | the end of either, stop, kill                      |
 * | EXITED     | it ended by itself and stays so                             | start, stop (which acknowledges), delete           |
 * | RESTARTING | it ended by itself; the engine waits to start it again      | that start, stop, kill, delete --force             |
 * | DELETING   | an operation removes it; parts may be gone                  | the end of that operation                          |
 * | FAILED     | its creation or deletion failed half-way                    | delete                                             |
 */
type State =
  | "CONTAINER_STATE_CREATING"
  | "CONTAINER_STATE_STOPPED"
  | "CONTAINER_STATE_RUNNING"
  | "CONTAINER_STATE_PAUSED"
  | "CONTAINER_STATE_EXITED"
  | "CONTAINER_STATE_RESTARTING"
  | "CONTAINER_STATE_DELETING"
  | "CONTAINER_STATE_FAILED";

const stopped: readonly State[] = ["CONTAINER_STATE_STOPPED", "CONTAINER_STATE_EXITED"];
const live: readonly State[] = ["CONTAINER_STATE_RUNNING", "CONTAINER_STATE_RESTARTING", "CONTAINER_STATE_PAUSED"];
const unwhole: readonly State[] = ["CONTAINER_STATE_CREATING", "CONTAINER_STATE_DELETING", "CONTAINER_STATE_FAILED"];

export const setRecovery = "set the recovery of";

/** In these states an action makes sense; what is there already (start of a running one) is success with nothing to do. */
const allowed: Readonly<Record<string, readonly State[]>> = {
  start: [...stopped, "CONTAINER_STATE_RUNNING", "CONTAINER_STATE_RESTARTING"],
  stop: [...live, ...stopped],
  kill: live,
  move: [...live, ...stopped],
  delete: [...stopped, ...unwhole],
  update: [...live, ...stopped],
  // Whether it is guarded is decided when it starts.
  [setRecovery]: stopped,
  // As its record says, which knows nothing newer of a host that is down.
  recover: live,
  exec: ["CONTAINER_STATE_RUNNING"],
  logs: [...live, ...stopped],
  stats: ["CONTAINER_STATE_RUNNING", "CONTAINER_STATE_PAUSED"],
};

/** Force ends its process, whatever it is doing. */
const allowedByForce: Readonly<Record<string, readonly State[]>> = { delete: live };

const words: Readonly<Record<string, string>> = {
  logs: "read the logs of",
  stats: "measure",
  exec: "run a command in",
};

/** Why an action is refused in a state, and what to do; undefined when it is allowed. */
export function refusal(
  action: string,
  state: string,
  force = false,
): { readonly message: string; readonly help: string } | undefined {
  const may = (states: readonly State[] | undefined) => states?.some((one) => one === state) ?? false;
  if (may(allowed[action]) || (force && may(allowedByForce[action]))) return undefined;
  if (action === setRecovery && may(live)) return { message: `is ${inWords(state)}`, help: "Stop it first." };
  const help = may(allowedByForce[action]) ? `Stop it first, or pass --force to ${action} it as it is.` : helpIn(state);
  return { message: `is ${inWords(state)}`, help: help.replace("ACTION", words[action] ?? action) };
}

/** True where an operation that makes or removes it is at work, or has failed at that. */
export const isUnwhole = (state: string): boolean => unwhole.some((one) => one === state);

/** "CONTAINER_STATE_RUNNING" to "running". */
const inWords = (state: string): string => state.replace("CONTAINER_STATE_", "").toLowerCase();

function helpIn(state: string): string {
  switch (state) {
    case "CONTAINER_STATE_STOPPED":
    case "CONTAINER_STATE_EXITED":
      return "Start it first.";
    case "CONTAINER_STATE_PAUSED":
      return "Wait until its checkpoint is taken.";
    case "CONTAINER_STATE_RESTARTING":
      return "Wait until it runs; see why it ended with: stillpoint container logs";
    case "CONTAINER_STATE_FAILED":
      return "It is not whole: delete it and make it again.";
    default:
      return "Wait until it is made or gone before you ACTION it.";
  }
}
