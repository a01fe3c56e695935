import { expect, test } from "vitest";
import { OperationState } from "#contracts/operation/v1/operation";
import { type Json, MemoryLog } from "#libs/records";
import { eventually } from "#libs/testing";
import { type Job, startRunner } from "./index.ts";
import { newOperation } from "./new-operation.ts";
import { operationIdOf } from "./operation-id.ts";
import { decodeOperation, type OperationRecord } from "./operation-record.ts";
import { acceptedBy } from "./operation-state.ts";
import { type MemoryOperations, startMemoryOperations } from "./testing/memory-operations.ts";

const VM = "projects/default/vms/web";
const create = { create: { uid: "vm-1", body: { done: false } }, existsReason: "VM_EXISTS" } as const;
const ask = { kind: "vm.create", target: VM, input: {}, principal: "local", project: "default" };

const job = (run: Job["steps"][number]["run"] = async () => undefined): Job => ({
  kind: "vm.create",
  steps: [{ name: "one", run }],
});

/** Every state that is written from now on. */
function writesOf({ operations }: MemoryOperations): OperationRecord[] {
  const { ops } = operations.deps;
  const written: OperationRecord[] = [];
  if (!(ops instanceof MemoryLog)) throw new Error("operations are not in memory");
  ops.onAppend = (message) => void written.push(decodeOperation(message).record);
  return written;
}

const isOver = async ({ operations }: MemoryOperations) =>
  (await operations.list({ unfinishedOnly: true })).length === 0;

test("what a process accepts is claimed by its worker in the same write, and not begun before its target is held", async () => {
  await using world = await startMemoryOperations();
  const written = writesOf(world);
  let holder: string | undefined;
  const run = async () => {
    holder = (await world.records.get(VM))?.operation;
    return undefined;
  };
  const runner = startRunner(world.operations, { jobs: [job(run)], worker: "own" });
  const { name, state } = await world.operations.accept(ask, create);
  expect(state).toBe(OperationState.RUNNING);
  await eventually(() => isOver(world));
  expect(holder).toBe(name.slice("operations/".length));
  expect(written).toMatchObject([
    { state: "pending", step: "one", claim: { worker: "own" }, acquire: { create: { uid: "vm-1" } } },
    { state: "succeeded" },
  ]);
  expect(written[1]).not.toHaveProperty("acquire");
  await runner.close();
});

test("what it has no room for goes through the queue", async () => {
  await using world = await startMemoryOperations();
  const written = writesOf(world);
  const release = Promise.withResolvers<undefined>();
  const runner = startRunner(world.operations, { jobs: [job(() => release.promise)], concurrency: 1 });
  await world.operations.accept(ask, create);
  const second = await world.operations.accept({ ...ask, target: `${VM}-2` }, { create: { uid: "vm-2", body: {} } });
  expect(second.state).toBe(OperationState.PENDING);
  expect(written.map(({ claim }) => claim === undefined)).toEqual([false, true]);
  release.resolve(undefined);
  await eventually(() => isOver(world));
  await runner.close();
});

test.each([
  ["to be made, is run by another worker", create, { state: OperationState.SUCCEEDED }],
  ["that was there, is given up", {}, { state: OperationState.FAILED, error: { reason: "OPERATION_ABANDONED" } }],
])("one whose process died before it held its target, %s", async (_, write, end) => {
  await using world = await startMemoryOperations();
  if (!("create" in write)) await world.records.create(VM, { uid: "vm-1", body: {} });
  const accepted = acceptedBy(job(), "dead")(newOperation<Json>("op-1", ask, write, world.operations.deps));
  await world.operations.log.create(accepted, { forMs: 0 });
  const runner = startRunner(world.operations, { jobs: [job()], ttlMs: 100 });
  await eventually(() => isOver(world));
  expect(await world.operations.get("op-1")).toMatchObject(end);
  await runner.close();
});

test("a request whose operation was given up before anybody was told of it goes on under one other id", async () => {
  await using world = await startMemoryOperations();
  const { operations } = world;
  await world.records.create(VM, { uid: "vm-1", body: {} });
  const request = { ...ask, requestId: "r1", fingerprint: {} };
  const first = operationIdOf(request, operations.deps.random);
  const accepted = acceptedBy(job(), "dead")(newOperation<Json>(first, request, {}, operations.deps));
  await operations.log.create(accepted, { forMs: 0 });
  const runner = startRunner(operations, { jobs: [job()], ttlMs: 100 });
  await eventually(() => isOver(world));
  expect(await operations.repeated(request)).toBeUndefined();
  const [one, two] = await Promise.all([operations.accept(request), operations.accept(request)]);
  expect(one.name).not.toBe(`operations/${first}`);
  expect(two.name).toBe(one.name);
  await eventually(() => isOver(world));
  expect(await operations.repeated(request)).toMatchObject({ name: one.name, state: OperationState.SUCCEEDED });
  await runner.close();
});

test("an accept that wakes when others have taken its operation to its end takes hold of nothing", async () => {
  await using world = await startMemoryOperations();
  const { operations } = world;
  await world.records.create(VM, { uid: "vm-1", body: {} });
  const request = { ...ask, requestId: "r1" };
  const id = operationIdOf(request, operations.deps.random);
  const slept = await operations.log.create(newOperation<Json>(id, request, {}, operations.deps), { forMs: 0 });
  expect(await operations.accept(request)).toMatchObject({ name: `operations/${id}` });
  const runner = startRunner(operations, { jobs: [job()] });
  await eventually(() => isOver(world));
  const held = await world.records.get(VM);
  if (held === undefined) throw new Error("the VM is gone");
  await world.records.update(held, { operation: null });
  expect(await operations.targets.acquire(slept.record, {})).toBe(false);
  expect((await world.records.get(VM))?.operation).toBeUndefined();
  await runner.close();
});

test("what was begun and never ended, as another operation killed its workers, is still undone by the next", async () => {
  await using world = await startMemoryOperations();
  const { operations } = world;
  const accepted = acceptedBy(job(), "dead")(newOperation<Json>("op-1", { ...ask, target: "" }, {}, operations.deps));
  const error = { reason: "NO_HOST_FITS", message: "no host fits", help: "", metadata: {} } as const;
  const left = { ...accepted, state: "running", phase: "undo", step: "one", attempt: 9, error } as const;
  await operations.log.create(left, { forMs: 0 });
  const [one] = job().steps;
  if (one === undefined) throw new Error("the job has a step");
  let undone = 0;
  const undo = async () => void undone++;
  const runner = startRunner(operations, { jobs: [{ ...job(), steps: [{ ...one, undo }] }], ttlMs: 100 });
  await eventually(() => isOver(world), { deadlineMs: 10_000 });
  expect(await operations.get("op-1")).toMatchObject({
    state: OperationState.FAILED,
    error: { reason: "NO_HOST_FITS" },
  });
  expect(undone).toBe(1);
  await runner.close();
});
