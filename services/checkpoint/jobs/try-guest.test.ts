import { describe, expect, test } from "vitest";
import { type ExecResponse, Workload, WorkloadState } from "#contracts/host/v1/agent";
import type { Clock } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import { type Trial, tryGuest } from "./try-guest.ts";

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

function run({ states, exec = silence }: Guest, differs: Partial<Trial> = {}) {
  const clock = movingClock();
  let asked = 0;
  const agents = { getWorkload: async () => states[Math.min(asked++, states.length - 1)], exec };
  const signal = new AbortController().signal;
  const trial = { begun: clock.now(), command: ["check"], timeoutMs: 10_000, signal, ...differs };
  return tryGuest({ agents, clock }, at, trial);
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
