import { describe, expect, test } from "vitest";
import type { JobState } from "./job-state.ts";

/** What every store of job state must do; `forget` empties it. */
export function jobStateContract(
  name: string,
  open: () => Promise<{ jobState: JobState; forget: () => Promise<void> }>,
): void {
  describe(name, () => {
    const base = { worker: "w", heartbeat: 3, step: "copy" };
    const copying = { ...base, operationId: "op-1", percent: 0, bytesDone: 4, bytesTotal: 10, message: "copying" };

    test("keeps many states in one write, and gives them in the order that is asked for", async () => {
      const { jobState } = await open();
      const plain = { ...base, operationId: "op-2" };
      await jobState.write([copying, plain]);
      expect(await jobState.read(["op-2", "op-0", "op-1"])).toEqual([plain, undefined, copying]);
      expect(await jobState.read([])).toEqual([]);
    });

    test("keeps nothing of the state before", async () => {
      const { jobState } = await open();
      await jobState.write([copying]);
      const next = { ...base, operationId: "op-1", heartbeat: 4, step: "boot" };
      await jobState.write([next]);
      expect(await jobState.read(["op-1"])).toEqual([next]);
    });

    test("knows nothing when its data are lost", async () => {
      const { jobState, forget } = await open();
      await jobState.write([copying]);
      await forget();
      expect(await jobState.read(["op-1"])).toEqual([undefined]);
    });
  });
}
