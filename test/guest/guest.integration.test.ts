import { once } from "node:events";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { eventually, isLong, temporaryFolder } from "#libs/testing";
import { type BootedGuest, bootGuest } from "./booted-guest.ts";
import { buildGuest } from "./build.ts";

const startWriter = "stillpoint-writer >/run/writer.out 2>&1 </dev/null &";
const lastAcknowledged = async (guest: BootedGuest) => Number(await guest.exec("stillpoint-writer", "--last"));
const report = async (guest: BootedGuest) => JSON.parse(await guest.exec("cat", "/run/stillpoint/writers.json"));

beforeAll(async () => {
  await buildGuest();
});

test("freezes its disks with both writers quiet, and goes on after the thaw", async () => {
  await using guest = await bootGuest(await buildGuest());
  await guest.ready();
  await guest.exec("sh", "-c", startWriter);
  await eventually(async () => (await lastAcknowledged(guest)) > 5, { deadlineMs: 20_000 });

  expect(await guest.agent("guest-fsfreeze-freeze")).toBe(1);
  expect(await guest.agent("guest-fsfreeze-status")).toBe("frozen");
  expect(await guest.agent("guest-fsfreeze-thaw")).toBe(1);

  const letGo = async () => {
    const told = await report(guest);
    return JSON.stringify(told).includes("frozen") ? undefined : told;
  };
  expect(await eventually(letGo, { deadlineMs: 20_000 })).toEqual({
    version: 1,
    writers: [
      { name: "redis", state: "thawed", ms: expect.any(Number) },
      { name: "sqlite", state: "thawed", ms: expect.any(Number) },
    ],
  });
  const before = await lastAcknowledged(guest);
  await eventually(async () => (await lastAcknowledged(guest)) > before, { deadlineMs: 10_000 });
});

test("keeps every acknowledged write over a reset without warning", async () => {
  await using guest = await bootGuest(await buildGuest());
  await guest.ready();
  await guest.exec("sh", "-c", startWriter);
  const acknowledged = await eventually(
    async () => {
      const last = await lastAcknowledged(guest);
      return last > 20 && last;
    },
    { deadlineMs: 20_000 },
  );
  await guest.qmp("system_reset");
  await guest.ready();
  await eventually(async () => (await guest.exec("redis-cli", "PING")) === "PONG", { deadlineMs: 20_000 });

  const stored = (await guest.exec("stillpoint-writer", "--stored")).split("\n").map((line) => line.split(" "));
  expect(stored.map(([name]) => name)).toEqual(["redis", "sqlite"]);
  for (const [, count, highest] of stored) {
    expect(Number(highest)).toBeGreaterThanOrEqual(acknowledged);
    expect(count).toBe(highest);
  }
});

test("vetoes the freeze when a writer fails", async () => {
  await using guest = await bootGuest(await buildGuest("failing-hook"));
  await guest.ready();
  await expect(guest.agent("guest-fsfreeze-freeze")).rejects.toThrow("fsfreeze hook has failed with status 1");
  expect(await guest.agent("guest-fsfreeze-status")).toBe("thawed");
  const { writers } = await report(guest);
  expect(writers.at(-1)).toMatchObject({ name: "90-failing", state: "failed" });
});

test("makes a file system on an empty second disk and freezes it as well", async () => {
  await using folder = temporaryFolder();
  const second = join(folder.path, "second.raw");
  await using file = await open(second, "w");
  await file.truncate(64 << 20);
  await using guest = await bootGuest(await buildGuest(), [second]);
  await guest.ready();
  expect(await guest.exec("sh", "-c", "grep -c ' /data2 ext4 ' /proc/mounts")).toBe("1");
  expect(await guest.agent("guest-fsfreeze-freeze")).toBe(2);
  expect(await guest.agent("guest-fsfreeze-thaw")).toBe(2);
});

test.runIf(isLong)("powers off at the press of the ACPI button, also without its agent", async () => {
  await using guest = await bootGuest(await buildGuest("no-agent"));
  const ended = once(guest.qemu, "exit", { signal: AbortSignal.timeout(60_000) });
  // A press before the driver is there is lost; a person would press again as well.
  const presses = setInterval(() => void guest.qmp("system_powerdown").catch(() => {}), 1_000);
  const [code] = await ended.finally(() => clearInterval(presses));
  expect(code).toBe(0);
});
