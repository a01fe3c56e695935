import { describe, expect, test } from "vitest";
import { CheckpointReadiness } from "#contracts/vm/v1/vm";
import type { Clock } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import { type AgentClient, createHostAgents, type StepContext } from "./index.ts";

const at = { host: "hosts/n1", uid: "vm-1" };
const pause = { $case: "pauseVm", value: {} } as const;
const unavailable = () => new StillpointError("UNAVAILABLE", "nobody answers");

/** A clock on which sleeping takes no time but is seen. */
function jumpingClock(): Clock {
  let nowMs = 0;
  return {
    now: () => new Date(nowMs),
    monotonicMs: () => nowMs,
    sleep: async (ms, signal) => {
      signal?.throwIfAborted();
      nowMs += ms;
    },
  };
}

/** An agent that answers each step by the next of its script. */
class ScriptedAgent implements AgentClient {
  readonly calls: string[] = [];
  readonly script: (() => void)[] = [];

  async fence({ epoch, operation }: { epoch?: number; operation?: string }) {
    this.calls.push(`fence ${operation} ${epoch}`);
    return { workload: undefined, stepsDone: [] };
  }

  async *runStep({ step }: { step?: string }) {
    this.calls.push(`step ${step}`);
    const progress = { percent: 10, bytesDone: 1, bytesTotal: 2, message: "on it" };
    yield { update: { $case: "progress", value: progress } as const };
    this.script.shift()?.();
    yield { update: { $case: "result", value: { workload: undefined, checkpoint: undefined } } as const };
  }

  async getWorkload(): Promise<never> {
    throw new StillpointError("WORKLOAD_NOT_FOUND", "there is none");
  }

  async inspectReadiness(): Promise<CheckpointReadiness> {
    this.script.shift()?.();
    return CheckpointReadiness.fromPartial({ freeBytes: 1 });
  }

  async *exec() {
    this.script.shift()?.();
    yield { stdout: Buffer.from("hi"), stderr: new Uint8Array(), exitCode: 0 };
  }

  close() {
    this.calls.push("close");
  }
}

function setUp(addressOf = (_host: string): string => "unix:/agent") {
  const agent = new ScriptedAgent();
  const agents = createHostAgents({ addressOf, clock: jumpingClock(), dial: () => agent, patienceMs: 5_000 });
  const seen: unknown[] = [];
  const contextOf = (epoch: number, signal = new AbortController().signal): StepContext => ({
    operationId: "op-1",
    epoch,
    signal,
    progress: (update) => seen.push(update.message),
  });
  return { agent, agents, contextOf, seen };
}

describe("a step", () => {
  test("fences once for each claim, and tells how far it is", async () => {
    const { agent, agents, contextOf, seen } = setUp();
    await agents.runStep(contextOf(7), at, "one", pause);
    await agents.runStep(contextOf(7), at, "two", pause);
    await agents.runStep(contextOf(9), at, "two", pause);
    expect(agent.calls).toEqual(["fence op-1 7", "step one", "step two", "fence op-1 9", "step two"]);
    expect(seen).toEqual(["on it", "on it", "on it"]);
  });

  test("is joined again when the agent was away for a moment", async () => {
    const { agent, agents, contextOf } = setUp();
    const away = () => {
      throw unavailable();
    };
    agent.script.push(away, away);
    await agents.runStep(contextOf(7), at, "one", pause);
    expect(agent.calls.filter((call) => call === "step one")).toHaveLength(3);
  });

  test("gives up when the agent stays away", async () => {
    const { agents, contextOf } = setUp(() => {
      throw unavailable();
    });
    const step = agents.runStep(contextOf(7), at, "one", pause);
    await expect(step).rejects.toMatchObject({
      reason: "HOST_UNREACHABLE",
      message: expect.stringContaining("hosts/n1"),
    });
  });

  test("fails with the agent's own error at once", async () => {
    const { agent, agents, contextOf } = setUp();
    agent.script.push(() => {
      throw new StillpointError("QEMU_FAILED", "it ended");
    });
    await expect(agents.runStep(contextOf(7), at, "one", pause)).rejects.toMatchObject({ reason: "QEMU_FAILED" });
    expect(agent.calls).toEqual(["fence op-1 7", "step one"]);
  });

  test("ends with the signal's reason", async () => {
    const { agent, agents, contextOf } = setUp();
    const stop = new AbortController();
    agent.script.push(() => {
      stop.abort(new Error("the claim is lost"));
      throw unavailable();
    });
    await expect(agents.runStep(contextOf(7, stop.signal), at, "one", pause)).rejects.toThrow("the claim is lost");
  });
});

test("settling always asks the agent", async () => {
  const { agent, agents, contextOf } = setUp();
  await agents.runStep(contextOf(7), at, "one", pause);
  expect(await agents.settle(contextOf(7), at)).toMatchObject({ stepsDone: [] });
  expect(agent.calls).toEqual(["fence op-1 7", "step one", "fence op-1 7"]);
});

test("a workload that the host does not have is undefined", async () => {
  const { agents } = setUp();
  expect(await agents.getWorkload(at, new AbortController().signal)).toBeUndefined();
});

test("what a checkpoint would give is asked again while the agent is away for a moment", async () => {
  const { agent, agents } = setUp();
  agent.script.push(() => {
    throw unavailable();
  });
  expect(await agents.inspectReadiness(at, new AbortController().signal)).toMatchObject({ freeBytes: 1 });
});

test("one connection for each address, closed together", async () => {
  const { agent, agents, contextOf } = setUp();
  await agents.runStep(contextOf(7), at, "one", pause);
  await agents.runStep(contextOf(7), at, "two", pause);
  agents.close();
  expect(agent.calls.filter((call) => call === "close")).toEqual(["close"]);
});

test("a command that takes too long is the command's failure, not the host's", async () => {
  const { agent, agents } = setUp();
  agent.script.push(() => {
    throw new StillpointError("DEADLINE_EXCEEDED", "sleep did not end in 1 s");
  });
  const options = { signal: new AbortController().signal, idleTimeoutMs: 1_000 };
  const request = { command: ["sleep", "5"], stdin: new Uint8Array(), timeoutSeconds: 1 };
  const read = async () => {
    for await (const _ of agents.exec(at, request, options));
  };
  await expect(read()).rejects.toMatchObject({ reason: "DEADLINE_EXCEEDED", message: "sleep did not end in 1 s" });
});
