import { expect, test } from "vitest";
import { OperationState } from "#contracts/operation/v1/operation";
import { systemClock } from "#libs/clock";
import { eventually } from "#libs/testing";
import { startRunner } from "./index.ts";
import { startMemoryOperations } from "./testing/memory-operations.ts";

test("finished operations are listed although they are no longer kept, newest first", async () => {
  let ms = 0;
  await using world = await startMemoryOperations({ clock: { ...systemClock, now: () => new Date(ms++) } });
  const names: string[] = [];
  const runner = startRunner(world.operations, { jobs: [{ kind: "vm.probe", steps: [] }] });
  for (let n = 0; n < 150; n++) {
    const who = { principal: "local", project: "default" };
    const request = { ...who, kind: "vm.probe", target: `projects/default/vms/vm-${n}`, input: {} };
    const { name } = await world.operations.accept(request, { hold: false });
    names.unshift(name);
  }
  await eventually(async () => (await world.operations.list({ unfinishedOnly: true })).length === 0);
  expect((await world.operations.list()).map(({ name }) => name)).toEqual(names.slice(0, 100));
  expect((await world.operations.list({ limit: 1_000 })).map(({ name }) => name)).toEqual(names);
  const oldest = await world.operations.list({ target: "projects/default/vms/vm-0" });
  expect(oldest).toMatchObject([{ name: names.at(-1), state: OperationState.SUCCEEDED }]);
  await runner.close();
});
