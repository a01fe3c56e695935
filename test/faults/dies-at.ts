import type { FailpointSwitch } from "../harness/failpoint-switch.ts";
import type { SupervisedProcess } from "../harness/supervised-process.ts";
import type { FaultRun } from "./fault-run.ts";

export interface Death {
  readonly run: FaultRun;
  readonly failpoints: FailpointSwitch;
  /** The failpoint, whose action is "kill". */
  readonly at: string;
  readonly victim: SupervisedProcess;
  /** Of the victim, for the report. */
  readonly who: string;
}

/** What is left to be done after an operation's end comes by its failpoint within this time. */
const inBackgroundMs = 10_000;
const patienceMs = 60_000;

/** Does something during which a process dies once; it has to come to its end within the bound after that. */
export async function diesAt<Outcome>({ run, failpoints, at, victim, who }: Death, act: () => Promise<Outcome>) {
  const { deaths } = victim;
  await failpoints.arm(at);
  try {
    const acting = act();
    let isOver = false;
    const over = acting.then(
      () => (isOver = true),
      () => (isOver = true),
    );
    await Promise.race([over, victim.untilDead(deaths, patienceMs)]);
    // One that failed says why, not only that nobody died.
    if (isOver) await acting;
    await victim.untilDead(deaths, inBackgroundMs);
    run.fault("kill", `${who} at ${at}`);
    await run.recovers(at, () => isOver);
    return await acting;
  } finally {
    await failpoints.disarm(at);
  }
}
