import { expect, test } from "vitest";
import { systemClock } from "#libs/clock";
import { beat, type HeartbeatDeps } from "./heartbeat.ts";

test("what urges is waited for once, however many heartbeats pass, and the next one comes at once", async () => {
  const ending = new AbortController();
  const seen = { sent: 0, waits: 0, passing: true, stands: false };
  let urge = Promise.withResolvers<void>();
  const deps: HeartbeatDeps = {
    ...{ host: "n1", hostUid: "host-1", address: "unix:/run/n1.sock", labels: {}, zone: "", version: "1" },
    ...{ capacity: { cpus: 1, memoryBytes: 1, diskBytes: 1 }, capabilities: () => [], workloads: () => [] },
    lease: {
      ...{ bootId: "boot-1", epoch: 0, sending: () => undefined },
      report: async () => ({ held: [], leftBehind: [] }),
    },
    send: () => void seen.sent++,
    urged() {
      seen.waits++;
      return urge.promise;
    },
    clock: {
      ...systemClock,
      sleep(_ms, signal) {
        seen.stands = !seen.passing;
        return systemClock.sleep(seen.passing ? 0 : 600_000, signal);
      },
    },
  };
  const beating = beat(deps, ending.signal);
  await expect.poll(() => seen.sent).toBeGreaterThan(20);
  expect(seen.waits).toBe(1);
  seen.passing = false;
  await expect.poll(() => seen.stands).toBe(true);
  const before = seen.sent;
  const last = urge;
  urge = Promise.withResolvers();
  last.resolve();
  await expect.poll(() => ({ ...seen })).toMatchObject({ sent: before + 1, waits: 2 });
  ending.abort();
  await beating;
});
