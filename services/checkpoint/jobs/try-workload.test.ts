import { describe, expect, test } from "vitest";
import { ContainerHealth, ContainerState } from "#contracts/container/v1/container";
import { type ExecResponse, Workload, WorkloadState } from "#contracts/host/v1/agent";
import type { Clock } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import { containerWaiting, guestWaiting, type Waiting } from "./trial-readiness.ts";
import { type Trial, tryWorkload } from "./try-workload.ts";

/** A clock that moves when somebody sleeps. */
function movingClock(): Clock {
  let nowMs = 1_000_000;
  return {
    now: () => new Date(nowMs),
    monotonicMs: () => nowMs,
    sleep: async (ms) => {
      nowMs += ms;
    },
  };
}

const at = { host: "hosts/n1", uid: "vm-1" };
const booting = Workload.fromPartial({ state: WorkloadState.RUNNING });
const ready = Workload.fromPartial({ state: WorkloadState.RUNNING, guestAgent: { connected: true } });

interface Guest {
  /** What the host says of it, each time that it is asked; the last again and again. */
  readonly states: readonly Workload[];
  readonly exec?: () => AsyncGenerator<ExecResponse>;
}

function run({ states, exec = silence }: Guest, differs: Partial<Trial & { waiting: Waiting }> = {}) {
  const clock = movingClock();
  let asked = 0;
  const agents = { getWorkload: async () => states[Math.min(asked++, states.length - 1)], exec };
  const signal = new AbortController().signal;
  const given = { begun: clock.now(), command: ["check"], timeoutMs: 10_000, signal, waiting: guestWaiting };
  const trial = { ...given, ...differs };
  return tryWorkload({ agents, clock }, at, trial);
}

async function* silence(): AsyncGenerator<ExecResponse> {
  yield { stdout: Buffer.from("fine\n"), stderr: Buffer.alloc(0), exitCode: 0 };
}

function failing(error: StillpointError) {
  return async function* (): AsyncGenerator<ExecResponse> {
    yield { stdout: Buffer.from("begun\n"), stderr: Buffer.alloc(0) };
    throw error;
  };
}

describe("a drill of a guest", () => {
  test("passes when its agent answers and the command ends with 0", async () => {
    const result = await run({ states: [booting, booting, ready] });
    expect(result).toMatchObject({ passed: true, exitCode: 0, output: "fine\n", secondsToAgent: 0.2 });
  });

  test("passes without a command when its agent answers", async () => {
    expect(await run({ states: [ready] }, { command: [] })).toMatchObject({ passed: true, secondsToResult: 0 });
  });

  test("fails when its agent does not answer in time", async () => {
    expect(await run({ states: [booting] })).toMatchObject({
      passed: false,
      reason: "agent.absent",
      detail: "the guest's agent did not answer within 10 s",
    });
  });

  test("fails when the guest ends first", async () => {
    const crashed = Workload.fromPartial({ state: WorkloadState.CRASHED });
    expect(await run({ states: [booting, crashed] })).toMatchObject({ passed: false, reason: "vm.ended" });
  });

  const failures = [
    ["DEADLINE_EXCEEDED", "command.timed_out"],
    ["VM_STATE", "vm.ended"],
    ["GUEST_AGENT_FAILED", "command.failed"],
  ] as const;
  test.for(failures)("takes %s as %s, with what was printed", async ([error, reason]) => {
    const exec = failing(new StillpointError(error, "told"));
    expect(await run({ states: [ready], exec })).toMatchObject({ passed: false, reason, output: "begun\n" });
  });

  test("leaves it to the job when the host cannot be reached", async () => {
    const exec = failing(new StillpointError("HOST_UNREACHABLE", "away"));
    await expect(run({ states: [ready], exec })).rejects.toMatchObject({ reason: "HOST_UNREACHABLE" });
  });
});

describe("a drill of a container", () => {
  const { RUNNING, EXITED } = ContainerState;
  const seen = (container: Parameters<typeof Workload.fromPartial>[0]["container"]) =>
    Workload.fromPartial({ container });
  const well = seen({ state: RUNNING, health: ContainerHealth.HEALTHY });
  const starting = seen({ state: RUNNING, health: ContainerHealth.STARTING });
  const tried = (states: Workload[], differs: Partial<Trial> = {}) =>
    run({ states }, { waiting: containerWaiting, ...differs });

  test("waits for its health check, then runs the command", async () => {
    expect(await tried([starting, starting, well])).toMatchObject({ passed: true, exitCode: 0, secondsToAgent: 0.2 });
    expect(await tried([starting])).toMatchObject({ passed: false, reason: "health.timed_out" });
    const sick = seen({ state: RUNNING, health: ContainerHealth.UNHEALTHY });
    expect(await tried([starting, sick])).toMatchObject({ passed: false, reason: "health.failed" });
  });

  test("without a health check it has to run for a while", async () => {
    const alive = seen({ state: RUNNING });
    expect(await tried([alive], { command: [] })).toMatchObject({ passed: true, secondsToAgent: 3 });
    const ended = seen({ state: EXITED, lastExit: { exitCode: 7 } });
    expect(await tried([alive, alive, ended])).toMatchObject({
      ...{ passed: false, reason: "container.ended", detail: expect.stringContaining("ended with 7") as string },
    });
  });
});
