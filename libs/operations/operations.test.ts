import { pino } from "pino";
import { describe, expect, test } from "vitest";
import { OperationState } from "#contracts/operation/v1/operation";
import { systemClock } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import { type Job, startRunner } from "./index.ts";
import type { Operations } from "./operations.ts";
import { type MemoryOperations, startMemoryOperations } from "./testing/memory-operations.ts";

const who = { principal: "local", project: "default" };
const never = new AbortController().signal;
const VM = "projects/default/vms/web";

async function ended(operations: Operations, name: string) {
  let last: Awaited<ReturnType<Operations["get"]>>;
  for await (const operation of operations.watch(name.slice("operations/".length), never)) last = operation;
  return last;
}

/** A job that notes what it does, and frees its target at the end. */
function noting(notes: string[], world: MemoryOperations, over: Partial<Job> = {}): Job {
  const note = (text: string) => async () => {
    notes.push(text);
    return { [text]: true };
  };
  return {
    kind: "vm.create",
    steps: [
      { name: "one", run: note("one"), undo: async () => void notes.push("undo one") },
      { name: "two", run: note("two"), undo: async () => void notes.push("undo two") },
    ],
    conclude: async ({ target, operationId }, outcome) => {
      notes.push(outcome.succeeded ? "succeeded" : `failed ${outcome.error.reason}`);
      await world.records.modify(target, (stored) =>
        stored.operation === operationId ? { operation: null, body: { done: true } } : undefined,
      );
      return { ip: "10.0.0.1" };
    },
    ...over,
  };
}

const create = { create: { uid: "vm-1", body: { done: false } }, existsReason: "VM_EXISTS" } as const;
const ask = { kind: "vm.create", target: VM, input: { cpus: 1 }, ...who };

describe("an operation", () => {
  test("runs its steps, concludes, and gives its output", async () => {
    await using world = await startMemoryOperations();
    const notes: string[] = [];
    const runner = startRunner(world.operations, { jobs: [noting(notes, world)] });
    const { name } = await world.operations.accept(ask, create);
    expect(await ended(world.operations, name)).toMatchObject({
      state: OperationState.SUCCEEDED,
      output: { ip: "10.0.0.1" },
    });
    expect(notes).toEqual(["one", "two", "succeeded"]);
    expect(await world.records.get(VM)).toMatchObject({ operation: undefined, body: { done: true }, uid: "vm-1" });
    await runner.close();
  });

  test("never shows a step that has nothing to do, nor undoes it", async () => {
    await using world = await startMemoryOperations();
    const notes: string[] = [];
    const job = noting(notes, world);
    const idle = (name: string, skip: NonNullable<Job["steps"][number]["skip"]>) => ({
      ...{ name, skip, run: async () => void notes.push(name), undo: async () => void notes.push(`undo ${name}`) },
    });
    const fail = async () => {
      throw new StillpointError("QEMU_FAILED", "no such machine");
    };
    const steps = [
      ...job.steps,
      idle("idle-1", ({ outputs }) => outputs.two?.two === true),
      idle("idle-2", async () => true),
      { name: "last", run: fail },
    ];
    const { name } = await world.operations.accept(ask, create);
    const shown: string[] = [];
    const watching = (async () => {
      for await (const { progress } of world.operations.watch(name.slice("operations/".length), never)) {
        if (progress !== undefined) shown.push(progress.step);
      }
    })();
    const runner = startRunner(world.operations, { jobs: [{ ...job, steps }] });
    await watching;
    expect(notes).toEqual(["one", "two", "undo two", "undo one", "failed QEMU_FAILED"]);
    expect(shown).toContain("last");
    expect(shown.filter((step) => step === "idle-1" || step === "idle-2")).toEqual([]);
    await runner.close();
  });

  test("leaves a line in the log when it ends", async () => {
    let log = "";
    const write = (line: string) => {
      log += line;
    };
    const logger = pino({ base: null, timestamp: false }, { write });
    await using world = await startMemoryOperations({ logger });
    const fail = async () => {
      throw new StillpointError("QEMU_FAILED", "no such machine");
    };
    const job = { ...noting([], world), steps: [{ name: "one", run: fail }] };
    const runner = startRunner(world.operations, { jobs: [job] });
    const { name } = await world.operations.accept(ask, create);
    await ended(world.operations, name);
    await runner.close();
    expect(JSON.parse(log.trim().split("\n").at(-1) ?? "")).toMatchObject({
      ...{ level: 40, kind: "vm.create", target: VM, state: "failed", msg: "operation ended" },
      ...{ operationId: name.slice("operations/".length), reason: "QEMU_FAILED", why: "no such machine" },
    });
  });

  test("that fails is undone in reverse, the failed step first", async () => {
    await using world = await startMemoryOperations();
    const notes: string[] = [];
    const job = noting(notes, world);
    const fail = async () => {
      throw new StillpointError("QEMU_FAILED", "no such machine");
    };
    const steps = [...job.steps, { name: "three", run: fail, undo: async () => void notes.push("undo three") }];
    const runner = startRunner(world.operations, { jobs: [{ ...job, steps }] });
    const { name } = await world.operations.accept(ask, create);
    expect(await ended(world.operations, name)).toMatchObject({
      state: OperationState.FAILED,
      error: { reason: "QEMU_FAILED", message: "no such machine" },
    });
    expect(notes).toEqual(["one", "two", "undo three", "undo two", "undo one", "failed QEMU_FAILED"]);
    await runner.close();
  });

  test("waits in line for nobody: a busy target is refused, with the name of the other", async () => {
    await using world = await startMemoryOperations();
    const { name } = await world.operations.accept(ask, create);
    const other = world.operations.accept({ ...ask, kind: "vm.start" });
    await expect(other).rejects.toMatchObject({ reason: "TARGET_BUSY", metadata: { operation: name } });
  });

  test("is the same for the same request id, and no other", async () => {
    await using world = await startMemoryOperations();
    const { name } = await world.operations.accept({ ...ask, requestId: "r1" }, create);
    const again = { create: { ...create.create, uid: "vm-2" } };
    expect((await world.operations.accept({ ...ask, requestId: "r1" }, again)).name).toBe(name);
    await expect(
      world.operations.accept({ ...ask, input: { cpus: 2 }, requestId: "r1" }, create),
    ).rejects.toMatchObject({
      reason: "REQUEST_ID_REUSED",
    });
    expect(name).toMatch(/^operations\/op-[0-9a-f]{32}$/);
  });

  test("on a name that is taken is refused, the same way each time", async () => {
    await using world = await startMemoryOperations();
    await world.records.create(VM, { uid: "vm-0", body: {} });
    for (const _ of [1, 2]) {
      await expect(world.operations.accept({ ...ask, requestId: "r1" }, create)).rejects.toMatchObject({
        reason: "VM_EXISTS",
      });
    }
  });

  test("that comes late to its target does not bring back what it made and what was removed since", async () => {
    let aheadMs = 0;
    const clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + aheadMs };
    await using world = await startMemoryOperations({ clock });
    const { name } = await world.operations.accept(ask, create);
    const stored = await world.operations.log.read(name.slice("operations/".length));
    const made = await world.records.get(VM);
    if (stored === undefined || made === undefined) throw new Error("nothing was accepted");
    await world.records.remove(made);
    // Longer than the log remembers message ids.
    aheadMs = 180_000;
    await world.operations.targets.acquire(stored.record, create);
    expect(await world.records.get(VM)).toBeUndefined();
  });

  test("that was cancelled before it began undoes nothing but still concludes", async () => {
    await using world = await startMemoryOperations();
    const notes: string[] = [];
    const { name } = await world.operations.accept(ask, create);
    await world.operations.cancel(name.slice("operations/".length));
    const runner = startRunner(world.operations, { jobs: [noting(notes, world)] });
    expect((await ended(world.operations, name))?.state).toBe(OperationState.CANCELLED);
    expect(notes).toEqual(["failed OPERATION_CANCELLED"]);
    await runner.close();
  });

  test("that is cancelled while a step runs aborts the step", async () => {
    await using world = await startMemoryOperations();
    const started = Promise.withResolvers<void>();
    const run: Job["steps"][number]["run"] = ({ signal }) => {
      started.resolve();
      return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error)));
    };
    const runner = startRunner(world.operations, { jobs: [{ kind: "vm.wait", steps: [{ name: "wait", run }] }] });
    const { name } = await world.operations.accept({ ...ask, kind: "vm.wait", target: "" });
    await started.promise;
    await world.operations.cancel(name.slice("operations/".length));
    expect((await ended(world.operations, name))?.state).toBe(OperationState.CANCELLED);
    await runner.close();
  });

  test("whose undo fails needs attention, and its target is free", async () => {
    await using world = await startMemoryOperations();
    const job = noting([], world);
    const boom = async () => {
      throw new StillpointError("QEMU_FAILED", "boom");
    };
    const retry = { attempts: 2, forMs: 0 };
    const runner = startRunner(world.operations, {
      jobs: [{ ...job, steps: [{ name: "one", run: boom, undo: boom }] }],
      retry,
    });
    const { name } = await world.operations.accept(ask, create);
    expect(await ended(world.operations, name)).toMatchObject({
      state: OperationState.NEEDS_ATTENTION,
      error: { reason: "UNDO_FAILED" },
    });
    expect((await world.records.get(VM))?.operation).toBeUndefined();
    await runner.close();
  });

  test("survives a worker that stops: the next one goes on at the step that was not done", async () => {
    await using world = await startMemoryOperations();
    const notes: string[] = [];
    const job = noting(notes, world);
    const started = Promise.withResolvers<void>();
    const stuck: Job["steps"][number]["run"] = ({ signal }) => {
      started.resolve();
      return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error)));
    };
    const [one, two] = job.steps;
    if (one === undefined || two === undefined) throw new Error("the job has two steps");
    const first = startRunner(world.operations, { jobs: [{ ...job, steps: [one, { ...two, run: stuck }] }] });
    const { name } = await world.operations.accept(ask, create);
    await started.promise;
    await first.close();
    const second = startRunner(world.operations, { jobs: [job] });
    expect((await ended(world.operations, name))?.state).toBe(OperationState.SUCCEEDED);
    expect(notes).toEqual(["one", "two", "succeeded"]);
    await second.close();
  });
});
