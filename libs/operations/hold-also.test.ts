import { describe, expect, test } from "vitest";
import { OperationState } from "#contracts/operation/v1/operation";
import { StillpointError } from "#libs/errors";
import { type Job, type JobContext, startRunner } from "./index.ts";
import { type MemoryOperations, startMemoryOperations } from "./testing/memory-operations.ts";

const who = { principal: "local", project: "default" };
const never = new AbortController().signal;
const GROUP = "projects/default/groups/shop";
const VM = "projects/default/vms/web";
const ask = { kind: "group.change", target: GROUP, input: {}, ...who };

async function startWorld() {
  const world = await startMemoryOperations();
  for (const name of [GROUP, VM]) await world.records.create(name, { uid: name, body: {} });
  return world;
}

const idOf = (name: string) => name.slice("operations/".length);

async function ended({ operations }: MemoryOperations, name: string) {
  let last: Awaited<ReturnType<typeof operations.get>>;
  for await (const operation of operations.watch(idOf(name), never)) last = operation;
  return last;
}

/** Holds the VM beside its target, then does `work`; frees both. */
function holding(world: MemoryOperations, work: (context: JobContext) => Promise<void>): Job {
  return {
    kind: ask.kind,
    steps: [
      {
        name: "hold",
        run: async ({ operationId, epoch }) => {
          await world.operations.holdAlso(operationId, VM);
          return { epoch };
        },
      },
      {
        name: "work",
        run: async (context) => {
          await work(context);
          return { epoch: context.epoch };
        },
      },
    ],
    conclude: async ({ operationId, outputs }) => {
      for (const name of [VM, GROUP]) {
        await world.records.modify(name, ({ operation }) =>
          operation === operationId ? { operation: null } : undefined,
        );
      }
      return outputs;
    },
  };
}

/** Another operation on the VM, from its acceptance to its end. */
async function useVm(world: MemoryOperations): Promise<number> {
  const epoch = Promise.withResolvers<number>();
  const steps = [{ name: "use", run: async (context: JobContext) => epoch.resolve(context.epoch) as undefined }];
  const conclude = async ({ target }: JobContext) => void (await world.records.modify(target, free)) as undefined;
  const runner = startRunner(world.operations, { jobs: [{ kind: "vm.use", steps, conclude }] });
  const { name } = await world.operations.accept({ ...ask, kind: "vm.use", target: VM });
  await ended(world, name);
  await runner.close();
  return await epoch.promise;
}

const free = () => ({ operation: null });

describe("a further target", () => {
  test("is held until the job concludes", async () => {
    await using world = await startWorld();
    const seen: unknown[] = [];
    const job = holding(world, async ({ operationId }) => {
      seen.push((await world.records.get(VM))?.operation === operationId);
      const other = world.operations.accept({ ...ask, kind: "vm.use", target: VM });
      seen.push(await other.catch((error: StillpointError) => [error.reason, error.metadata.operation]));
    });
    const runner = startRunner(world.operations, { jobs: [job] });
    const { name } = await world.operations.accept(ask);
    expect((await ended(world, name))?.state).toBe(OperationState.SUCCEEDED);
    expect(seen).toEqual([true, ["TARGET_BUSY", name]]);
    expect((await world.records.get(VM))?.operation).toBeUndefined();
    await runner.close();
  });

  test("is used under a newer epoch than by whoever had it before", async () => {
    await using world = await startWorld();
    const used = Promise.withResolvers<number>();
    const claimed = Promise.withResolvers<void>();
    const job = holding(world, async () => undefined);
    const wait = async ({ epoch }: JobContext) => {
      claimed.resolve();
      return { epoch, before: await used.promise };
    };
    const steps = [{ name: "wait", run: wait }, ...job.steps];
    const runner = startRunner(world.operations, { jobs: [{ ...job, steps }] });
    const { name } = await world.operations.accept(ask);
    await claimed.promise;
    used.resolve(await useVm(world));
    const { wait: first, work } = (await ended(world, name))?.output ?? {};
    expect(first.before).toBeGreaterThan(first.epoch);
    expect(work.epoch).toBeGreaterThan(first.before);
    await runner.close();
  });

  test("that is busy fails the job, which frees its own target", async () => {
    await using world = await startWorld();
    const { name: other } = await world.operations.accept({ ...ask, kind: "vm.use", target: VM });
    const runner = startRunner(world.operations, { jobs: [holding(world, async () => undefined)] });
    const { name } = await world.operations.accept(ask);
    expect(await ended(world, name)).toMatchObject({
      error: { reason: "TARGET_BUSY", metadata: { operation: other } },
    });
    expect((await world.records.get(GROUP))?.operation).toBeUndefined();
    expect((await world.records.get(VM))?.operation).toBe(idOf(other));
    await runner.close();
  });

  test("may be held twice, and is checked by what the caller expects", async () => {
    await using world = await startWorld();
    const { name } = await world.operations.accept(ask);
    const hold = (expected: object) => world.operations.holdAlso(idOf(name), VM, expected);
    const refusal = new StillpointError("VM_STATE", "it is off");
    const refuse = () => {
      throw refusal;
    };
    await expect(hold({ expect: refuse })).rejects.toBe(refusal);
    await expect(hold({ uid: "another", missingReason: "VM_NOT_FOUND" })).rejects.toMatchObject({
      reason: "VM_NOT_FOUND",
    });
    await hold({ uid: VM });
    const { version } = (await world.records.get(VM)) ?? {};
    await hold({});
    expect(await world.records.get(VM)).toMatchObject({ operation: idOf(name), version });
  });

  test("goes on with the job when its worker ends right after it was held", async () => {
    await using world = await startWorld();
    const job = holding(world, async () => undefined);
    const held = Promise.withResolvers<void>();
    const stuck: Job["steps"][number]["run"] = async ({ operationId, signal }) => {
      await world.operations.holdAlso(operationId, VM);
      held.resolve();
      return await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error)));
    };
    const first = startRunner(world.operations, { jobs: [{ ...job, steps: [{ name: "hold", run: stuck }] }] });
    const { name } = await world.operations.accept(ask);
    await held.promise;
    await first.close();
    const second = startRunner(world.operations, { jobs: [job] });
    expect((await ended(world, name))?.state).toBe(OperationState.SUCCEEDED);
    expect((await world.records.get(VM))?.operation).toBeUndefined();
    await second.close();
  });

  test("is free once the operation has ended, even when nobody freed it", async () => {
    await using world = await startWorld();
    const { kind, steps } = holding(world, async () => undefined);
    const runner = startRunner(world.operations, { jobs: [{ kind, steps }] });
    const { name } = await world.operations.accept(ask);
    await ended(world, name);
    await runner.close();
    expect((await world.records.get(VM))?.operation).toBe(idOf(name));
    const next = await world.operations.accept({ ...ask, kind: "vm.use", target: VM });
    expect((await world.records.get(VM))?.operation).toBe(idOf(next.name));
    await expect(world.operations.holdAlso(idOf(name), VM)).rejects.toMatchObject({ reason: "TARGET_BUSY" });
  });
});

test("one that may end the holder of its target and is refused then, ends nothing", async () => {
  await using world = await startWorld();
  const { name } = await world.operations.accept(ask);
  const refuse = () => {
    throw new StillpointError("VM_STATE", "it is elsewhere");
  };
  const other = world.operations.accept({ ...ask, kind: "group.end" }, { supersedes: () => true, expect: refuse });
  await expect(other).rejects.toMatchObject({ reason: "VM_STATE" });
  expect(await world.operations.get(idOf(name))).toMatchObject({ done: false });
});
