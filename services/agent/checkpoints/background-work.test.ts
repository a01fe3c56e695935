import { expect, test } from "vitest";
import { silentLogger } from "#libs/logger";
import { BackgroundWork } from "./background-work.ts";

const tick = () => new Promise<void>((resolve) => setImmediate(resolve));

test("a step waits until the piece that is under way has stopped, and the work goes on after it", async () => {
  const work = new BackgroundWork({ logger: silentLogger });
  const seen: string[] = [];
  work.add("vm-1", "a merge", () => async (signal) => {
    seen.push("begun");
    if (seen.length > 1) return true;
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    await tick();
    seen.push("stopped");
    throw signal.reason;
  });
  await tick();
  const held = await work.hold("vm-1");
  expect(seen).toEqual(["begun", "stopped"]);
  await tick();
  expect(seen).toHaveLength(2);
  held[Symbol.dispose]();
  await tick();
  expect(seen).toEqual(["begun", "stopped", "begun"]);
  await work.close();
});

test("work that is queued at the very moment when the last is over is begun", async () => {
  for (let moments = 0; moments < 12; moments++) {
    const work = new BackgroundWork({ logger: silentLogger });
    const seen: string[] = [];
    const over = Promise.withResolvers<boolean>();
    work.add("vm-1", "first", () => () => over.promise);
    await tick();
    over.resolve(true);
    for (let moment = 0; moment < moments; moment++) await Promise.resolve();
    work.add("vm-1", "second", () => async () => seen.push("second") > 0);
    await tick();
    expect(seen).toEqual(["second"]);
    await work.close();
  }
});

test("work on another workload does not wait, and the same work that is queued again is begun anew", async () => {
  const work = new BackgroundWork({ logger: silentLogger });
  const seen: string[] = [];
  const add = (uid: string) =>
    work.add(uid, "digests", () => {
      seen.push(uid);
      return async () => {
        if (seen.length === 1) add(uid);
        return true;
      };
    });
  using _held = await work.hold("vm-1");
  add("vm-1");
  add("vm-2");
  await tick();
  expect(seen).toEqual(["vm-2", "vm-2"]);
  await work.close();
});
