import { WorkloadState } from "#contracts/host/v1/agent";
import type { Clock } from "#libs/clock";
import { isStillpointError } from "#libs/errors";
import type { HostAgents, WorkloadOnHost } from "#libs/host-agent";
import { type DrillResult, judgeCommand, outputTail } from "../domain/drill.ts";

interface TryDeps {
  readonly agents: Pick<HostAgents, "getWorkload" | "exec">;
  readonly clock: Clock;
}

export interface Trial {
  /** When its restore began, by the wall clock. */
  readonly begun: Date;
  /** Empty for nothing but waiting for the agent. */
  readonly command: readonly string[];
  /** For the agent to answer and the command to end, together. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

const LOOK_MS = 100;
/** The agent ends a command in time; this is for when the host does not answer any more. */
const GRACE_MS = 10_000;

/** Waits until the guest's agent answers, then runs the check command in it. What fails there is a result. */
export async function tryGuest(deps: TryDeps, at: WorkloadOnHost, trial: Trial): Promise<DrillResult> {
  const { clock } = deps;
  const giveUpMs = clock.monotonicMs() + trial.timeoutMs;
  const absent = await waitForAgent(deps, at, { ...trial, giveUpMs });
  if (absent !== undefined) return absent;
  const secondsToAgent = secondsSince(clock, trial.begun);
  if (trial.command.length === 0) {
    const detail = "the guest's agent answers; there is no check command";
    return { passed: true, reason: "", detail, command: [], secondsToAgent, secondsToResult: secondsToAgent };
  }
  const leftMs = Math.max(1_000, giveUpMs - clock.monotonicMs());
  const result = await runCommand(deps, at, { ...trial, leftMs });
  return { ...result, secondsToAgent, secondsToResult: secondsSince(clock, trial.begun) };
}

/** Undefined once it answers; why not, when the guest ends or time is up. */
async function waitForAgent(
  { agents, clock }: TryDeps,
  at: WorkloadOnHost,
  { command, timeoutMs, signal, giveUpMs }: Trial & { readonly giveUpMs: number },
): Promise<DrillResult | undefined> {
  for (;;) {
    const workload = await agents.getWorkload(at, signal);
    if (workload?.guestAgent?.connected === true) return undefined;
    if (workload?.state !== WorkloadState.RUNNING) {
      return { passed: false, reason: "vm.ended", detail: "the guest ended before its agent answered", command };
    }
    if (clock.monotonicMs() > giveUpMs) {
      const detail = `the guest's agent did not answer within ${timeoutMs / 1_000} s`;
      return { passed: false, reason: "agent.absent", detail, command };
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

/** What the guest did wrong; a host that cannot be reached is not its fault, and is tried again. */
function failureOf(error: unknown, command: readonly string[], printed: string): DrillResult {
  if (isStillpointError(error, "DEADLINE_EXCEEDED")) {
    return { passed: false, reason: "command.timed_out", detail: error.message, command, output: printed };
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
