import type { Clock } from "#libs/clock";
import { isStillpointError } from "#libs/errors";
import type { HostAgents, WorkloadOnHost } from "#libs/host-agent";
import { type DrillResult, judgeCommand, outputTail } from "../domain/drill.ts";
import type { Failing, Waiting } from "./trial-readiness.ts";

interface TryDeps {
  readonly agents: Pick<HostAgents, "getWorkload" | "exec">;
  readonly clock: Clock;
}

export interface Trial {
  /** When its restore began, by the wall clock. */
  readonly begun: Date;
  /** Empty for nothing but waiting until it is up. */
  readonly command: readonly string[];
  /** For it to be up and the command to end, together. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

const LOOK_MS = 100;
/** The agent ends a command in time; this is for when the host does not answer any more. */
const GRACE_MS = 10_000;

/** Waits until the workload is up, then runs the check command in it. What fails there is a result. */
export async function tryWorkload(
  deps: TryDeps,
  at: WorkloadOnHost,
  trial: Trial & { readonly waiting: Waiting },
): Promise<DrillResult> {
  const { clock } = deps;
  const giveUpMs = clock.monotonicMs() + trial.timeoutMs;
  const failing = await waitUntilUp(deps, at, { ...trial, giveUpMs });
  if (failing !== undefined) return { passed: false, ...failing, command: trial.command };
  const secondsToAgent = secondsSince(clock, trial.begun);
  if (trial.command.length === 0) {
    const { seen: detail } = trial.waiting;
    return { passed: true, reason: "", detail, command: [], secondsToAgent, secondsToResult: secondsToAgent };
  }
  const leftMs = Math.max(1_000, giveUpMs - clock.monotonicMs());
  const result = await runCommand(deps, at, { ...trial, leftMs });
  return { ...result, secondsToAgent, secondsToResult: secondsSince(clock, trial.begun) };
}

/** Undefined once it is up; why not, when it ends or time is up. */
async function waitUntilUp(
  { agents, clock }: TryDeps,
  at: WorkloadOnHost,
  { timeoutMs, signal, giveUpMs, waiting }: Trial & { readonly giveUpMs: number; readonly waiting: Waiting },
): Promise<Failing | undefined> {
  const begunMs = clock.monotonicMs();
  for (;;) {
    const readiness = waiting.judge(await agents.getWorkload(at, signal), clock.monotonicMs() - begunMs);
    if (readiness === "ready") return undefined;
    if (readiness !== "not yet") return readiness;
    if (clock.monotonicMs() > giveUpMs) {
      const { reason, detail } = waiting.late;
      return { reason, detail: `${detail} within ${timeoutMs / 1_000} s` };
    }
    await clock.sleep(LOOK_MS, signal);
  }
}

async function runCommand(
  { agents }: TryDeps,
  at: WorkloadOnHost,
  { command, signal, leftMs }: Trial & { readonly leftMs: number },
): Promise<DrillResult> {
  const timeoutSeconds = Math.ceil(leftMs / 1_000);
  let printed = "";
  try {
    const request = { command: [...command], stdin: new Uint8Array(), timeoutSeconds };
    const options = { signal, idleTimeoutMs: leftMs + GRACE_MS };
    for await (const { stdout, stderr, exitCode } of agents.exec(at, request, options)) {
      printed = outputTail(printed + Buffer.concat([stdout, stderr]).toString());
      if (exitCode !== undefined) return judgeCommand(command, exitCode, printed);
    }
    return { passed: false, reason: "command.failed", detail: "the check command ended without an exit code", command };
  } catch (error) {
    return failureOf(error, command, printed);
  }
}

/** What the workload did wrong; a host that cannot be reached is not its fault, and is tried again. */
function failureOf(error: unknown, command: readonly string[], printed: string): DrillResult {
  if (isStillpointError(error, "DEADLINE_EXCEEDED")) {
    return { passed: false, reason: "command.timed_out", detail: error.message, command, output: printed };
  }
  if (isStillpointError(error, "CONTAINER_STATE") || isStillpointError(error, "COMMAND_NOT_FOUND")) {
    const reason = error.reason === "CONTAINER_STATE" ? "container.ended" : "command.failed";
    return { passed: false, reason, detail: error.message, command, output: printed };
  }
  if (isStillpointError(error, "VM_STATE") || isStillpointError(error, "WORKLOAD_NOT_FOUND")) {
    return { passed: false, reason: "vm.ended", detail: error.message, command, output: printed };
  }
  if (isStillpointError(error, "GUEST_AGENT_ABSENT") || isStillpointError(error, "GUEST_AGENT_FAILED")) {
    return { passed: false, reason: "command.failed", detail: error.message, command, output: printed };
  }
  throw error;
}

const secondsSince = (clock: Clock, time: Date): number =>
  Math.round((clock.now().getTime() - time.getTime()) / 10) / 100;
