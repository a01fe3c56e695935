import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

const COLLECT_AFTER_BYTES = 32 * 2 ** 20;

setFlagsFromString("--expose-gc");
const collect: NodeJS.GCFunction = runInNewContext("gc");
let spentBytes = 0;

/**
 * Counts bytes of bodies that were taken in and are garbage now, and has the youngest garbage collected now and then,
 * which takes a millisecond. The network gives each piece as a small object that holds 64 KiB outside the heap, which
 * V8 hardly counts: left alone, a registry that takes in 32 blobs at once keeps 100 MiB of dead buffers.
 */
export function countSpent(bytes: number): void {
  spentBytes += bytes;
  if (spentBytes < COLLECT_AFTER_BYTES) return;
  spentBytes = 0;
  collect({ type: "minor" });
}
