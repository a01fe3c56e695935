import type { CheckpointStorage } from "#contracts/vm/v1/vm";
import { showBytes, showSeconds } from "./units.ts";

/** What waits to be merged: "nothing", "120 MiB (40 MiB done)", "120 MiB, waits for space.insufficient". */
export function mergeDebt(storage: CheckpointStorage): string {
  const { mergeDebtBytes, mergeDoneBytes, mergeTotalBytes, mergeWaitsFor, hiddenLayers } = storage;
  const running = mergeTotalBytes > 0 ? ` (${showBytes(mergeDoneBytes)} of ${showBytes(mergeTotalBytes)} done)` : "";
  const parts = [
    mergeDebtBytes > 0 ? `${showBytes(mergeDebtBytes)}${running}` : "nothing",
    mergeWaitsFor === "" ? "" : `waits for ${mergeWaitsFor}`,
    hiddenLayers > 0 ? `${hiddenLayers} hidden ${hiddenLayers === 1 ? "layer" : "layers"}` : "",
  ];
  return parts.filter((part) => part !== "").join(", ");
}

/** How long the space lasts: "40 GiB", "40 GiB, full in 3d; this VM takes 2 GiB an hour". */
export function forecast({ freeBytes, growthBytesPerHour, fullIn }: CheckpointStorage): string {
  const full = fullIn === undefined ? "" : `, full in ${showSeconds(fullIn.seconds)}`;
  const growth = growthBytesPerHour > 0 ? `; this VM takes ${showBytes(growthBytesPerHour)} an hour` : "";
  return `${showBytes(freeBytes)}${full}${growth}`;
}

/** Both on one line; empty when nothing is known. */
export const showStorage = (storage: CheckpointStorage | undefined): string =>
  storage === undefined ? "" : `To merge: ${mergeDebt(storage)}. Free: ${forecast(storage)}.`;

/** True when nothing is left that could be merged now. */
export const isMerged = ({ mergeDebtBytes, mergeTotalBytes }: CheckpointStorage): boolean =>
  mergeDebtBytes === 0 && mergeTotalBytes === 0;
