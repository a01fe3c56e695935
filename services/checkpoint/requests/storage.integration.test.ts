import { afterAll, beforeAll, expect, test } from "vitest";
import { CheckpointStorage, CheckpointType, Vm } from "#contracts/vm/v1/vm";
import { startControlPlane, type TestControlPlane, vmName } from "../testing/test-control-plane.ts";

let plane: TestControlPlane;
beforeAll(async () => {
  plane = await startControlPlane();
});
afterAll(async () => {
  await plane[Symbol.asyncDispose]();
});

test("sizes and storage are the host's own, or what it last told where it does not answer", async () => {
  await plane.createVm(CheckpointType.STANDARD);
  const { uid, name } = await plane.createReady("a");
  expect(await plane.list()).toMatchObject({ checkpoints: [{ sizeBytes: 4096, cumulativeBytes: 0 }] });
  const storage = (ownBytes: number) =>
    CheckpointStorage.fromPartial({ mergeDebtBytes: 7, sizes: [{ uid, ownBytes, cumulativeBytes: 9000 }] });
  plane.agent.storage = storage(5000);
  const now = { checkpoints: [{ sizeBytes: 5000, cumulativeBytes: 9000 }], storage: { mergeDebtBytes: 7 } };
  expect(await plane.list()).toMatchObject(now);
  expect(await plane.client.getCheckpoint({ name })).toMatchObject(now.checkpoints[0] ?? {});
  await plane.vms.modify(vmName, ({ body }) => ({
    body: Vm.fromPartial({ ...body, host: "hosts/away", checkpointStorage: storage(6000) }),
  }));
  expect(await plane.list()).toMatchObject({ checkpoints: [{ sizeBytes: 6000 }], storage: { mergeDebtBytes: 7 } });
});
