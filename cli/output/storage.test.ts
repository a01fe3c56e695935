import { expect, test } from "vitest";
import { CheckpointStorage } from "#contracts/vm/v1/vm";
import { forecast, mergeDebt } from "./storage.ts";

const MIB = 2 ** 20;
const storage = (change: Partial<CheckpointStorage>) => CheckpointStorage.fromPartial(change);

test("merge debt says how much, how far, and what it waits for", () => {
  expect(mergeDebt(storage({}))).toBe("nothing");
  expect(mergeDebt(storage({ hiddenLayers: 1 }))).toBe("nothing, 1 hidden layer");
  const running = { mergeDebtBytes: 120 * MIB, mergeDoneBytes: 40 * MIB, mergeTotalBytes: 100 * MIB };
  expect(mergeDebt(storage(running))).toBe("120 MiB (40 MiB of 100 MiB done)");
  expect(mergeDebt(storage({ mergeDebtBytes: MIB, mergeWaitsFor: "space.insufficient", hiddenLayers: 2 }))).toBe(
    "1 MiB, waits for space.insufficient, 2 hidden layers",
  );
});

test("the forecast is there when something grows", () => {
  expect(forecast(storage({ freeBytes: 40 * 1024 * MIB }))).toBe("40 GiB");
  const growing = { freeBytes: 40 * 1024 * MIB, growthBytesPerHour: 2048 * MIB, fullIn: { seconds: 72_000, nanos: 0 } };
  expect(forecast(storage(growing))).toBe("40 GiB, full in 20h; this VM takes 2 GiB an hour");
});
