import { describe, expect, test } from "vitest";
import { systemClock } from "#libs/clock";
import type { JobHint, JobQueue, TakeOptions } from "./job-queue.ts";

const QUIET_MS = 200;

/** What every queue of hints must do; `open` gives an empty one. */
export function jobQueueContract(name: string, open: () => Promise<JobQueue>): void {
  describe(name, () => {
    /** A worker of the service `vm`, that goes when it is disposed of. */
    function work(queue: JobQueue, { atMost = 10, service = "vm" } = {}) {
      const stop = new AbortController();
      const options: TakeOptions = { atMost, signal: stop.signal };
      const hints = queue.take(service, options)[Symbol.asyncIterator]();
      const next = async (): Promise<JobHint> => {
        const { value, done } = await hints.next();
        if (done === true) throw new Error("the hints have ended");
        return value;
      };
      return {
        next,
        stop: () => stop.abort(),
        ended: async () => (await hints.next()).done === true,
        [Symbol.dispose]: () => stop.abort(),
      };
    }

    test("keeps hints for the service that they are for, in order, also while nobody takes them", async () => {
      const queue = await open();
      using vm = work(queue);
      queue.hint("vm", "op-0");
      await (await vm.next()).finish();
      queue.hint("checkpoint", "op-1");
      queue.hint("vm", "op-2");
      queue.hint("vm", "op-3");
      using checkpoint = work(queue, { service: "checkpoint" });
      expect((await vm.next()).operationId).toBe("op-2");
      expect((await vm.next()).operationId).toBe("op-3");
      expect((await checkpoint.next()).operationId).toBe("op-1");
    });

    test("gives each hint to one of the workers", async () => {
      const queue = await open();
      using one = work(queue, { atMost: 1 });
      using two = work(queue, { atMost: 1 });
      const asked = [one.next(), two.next()];
      queue.hint("vm", "op-1");
      queue.hint("vm", "op-2");
      const hints = await Promise.all(asked);
      expect(hints.map(({ operationId }) => operationId).sort()).toEqual(["op-1", "op-2"]);
    });

    test("gives a worker no more than it can take, until one is finished", async () => {
      const queue = await open();
      using worker = work(queue, { atMost: 2 });
      for (const id of ["op-1", "op-2", "op-3"]) queue.hint("vm", id);
      const first = await worker.next();
      await worker.next();
      const third = worker.next();
      const quiet = systemClock.sleep(QUIET_MS).then(() => "nothing");
      expect(await Promise.race([third, quiet])).toBe("nothing");
      await first.finish();
      expect((await third).operationId).toBe("op-3");
    });

    test("lets a hint come again, after what came meanwhile, and never one that is finished", async () => {
      const queue = await open();
      using worker = work(queue, { atMost: 1 });
      queue.hint("vm", "op-1");
      const first = await worker.next();
      first.working();
      first.again(QUIET_MS);
      queue.hint("vm", "op-2");
      const second = await worker.next();
      expect(second.operationId).toBe("op-2");
      await second.finish();
      const again = await worker.next();
      expect(again.operationId).toBe("op-1");
      await again.finish();
      queue.hint("vm", "op-3");
      expect((await worker.next()).operationId).toBe("op-3");
    });

    test("ends with the signal of the worker", async () => {
      const queue = await open();
      using worker = work(queue);
      const ended = worker.ended();
      worker.stop();
      expect(await ended).toBe(true);
    });
  });
}
