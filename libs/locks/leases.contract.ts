import { describe, expect, test } from "vitest";
import { systemClock } from "#libs/clock";
import type { Leases } from "./leases.ts";

const TTL_MS = 300;

/** What every store of leases must do; `forget` empties it. */
export function leasesContract(
  name: string,
  open: () => Promise<{ leases: Leases; forget: () => Promise<void> }>,
): void {
  describe(name, () => {
    test("gives a lease to one at a time, and to the next when it is given back", async () => {
      const { leases } = await open();
      const asked = await Promise.all([1, 2, 3].map(() => leases.acquire("vm", TTL_MS)));
      const held = asked.filter((lease) => lease !== undefined);
      expect(held).toHaveLength(1);
      await held[0]?.release();
      const next = await leases.acquire("vm", TTL_MS);
      expect(next?.token).not.toBe(held[0]?.token);
      await next?.release();
    });

    test("keeps it for longer than its ttl while the holder lives", async () => {
      const { leases } = await open();
      const lease = await leases.acquire("vm", TTL_MS);
      await systemClock.sleep(TTL_MS * 2);
      expect(await leases.acquire("vm", TTL_MS)).toBeUndefined();
      expect(lease?.signal.aborted).toBe(false);
      await lease?.release();
    });

    test("takes it up again when the store has lost its data, unless another has it", async () => {
      const { leases, forget } = await open();
      const first = await leases.acquire("vm", TTL_MS);
      await forget();
      const second = await leases.acquire("vm", TTL_MS);
      expect(second).toBeDefined();
      await new Promise((resolve) => first?.signal.addEventListener("abort", resolve));
      expect(second?.signal.aborted).toBe(false);
      await second?.release();

      const lonely = await leases.acquire("host", TTL_MS);
      await forget();
      await systemClock.sleep(TTL_MS);
      expect(lonely?.signal.aborted).toBe(false);
      expect(await leases.acquire("host", TTL_MS)).toBeUndefined();
      await lonely?.release();
    });
  });
}
