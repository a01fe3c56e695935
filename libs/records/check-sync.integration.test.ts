import { expect, test } from "vitest";
import { freePort, startNats } from "#libs/testing";
import { checkSync } from "./check-sync.ts";

test("a server that syncs each write is taken, any other is refused with what to change", async () => {
  const [good, lazy] = [await freePort(), await freePort()];
  await using _good = await startNats({ syncAlways: true, monitorPort: good });
  await checkSync(`http://127.0.0.1:${good}`);
  await using _lazy = await startNats({ monitorPort: lazy });
  await expect(checkSync(`http://127.0.0.1:${lazy}`)).rejects.toThrow("sync_interval: always");
});

test("a server that does not tell is refused", async () => {
  await expect(checkSync(`http://127.0.0.1:${await freePort()}`)).rejects.toThrow("NATS_MONITOR_URL");
});
