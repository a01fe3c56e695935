import { writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { type FailpointAction, parseFailpoints } from "./parse-failpoints.ts";

let active = parseFailpoints(process.env.STILLPOINT_FAILPOINTS);

/**
 * A place where a test may let the process fail. Off, it costs one comparison. On, by STILLPOINT_FAILPOINTS (see
 * parseFailpoints) or setFailpoints: kills or stops this process, waits, blocks it, or throws.
 */
export async function failpoint(name: string): Promise<void> {
  if (active === undefined) return;
  const action = active.get(name);
  if (action !== undefined && mayFire(action)) await fire(name, action);
}

/** Sets all failpoints of this process, in the form of STILLPOINT_FAILPOINTS; undefined switches them off. */
export function setFailpoints(specification: string | undefined): void {
  active = parseFailpoints(specification);
}

/** The marker is written before the action, so that a process that was killed here does not die here again. */
function mayFire({ once }: FailpointAction): boolean {
  if (once === undefined) return true;
  try {
    writeFileSync(once, "", { flag: "wx" });
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EEXIST") return false;
    throw error;
  }
}

async function fire(name: string, action: FailpointAction): Promise<void> {
  switch (action.kind) {
    case "kill":
      process.kill(process.pid, "SIGKILL");
      // The signal is on its way; nothing after this point may run.
      return new Promise(() => undefined);
    case "pause":
      process.kill(process.pid, "SIGSTOP");
      return;
    case "delay":
      await sleep(action.ms);
      return;
    case "block":
      // As code that computes for too long does: no timer, no heartbeat and no answer meanwhile.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, action.ms);
      return;
    case "throw":
      throw new Error(`failpoint ${name}`);
  }
}
