import { expect, test } from "vitest";
import { systemClock } from "#libs/clock";
import { silentLogger } from "#libs/logger";
import { ProjectNetworks } from "./networks.ts";

/** An engine that holds networks, and says what it was asked. */
function engineWith(...there: string[]) {
  const names = new Set(there);
  const asked: string[] = [];
  const engine = {
    async createNetwork(name: string) {
      asked.push("create");
      names.add(name);
    },
    async removeNetwork(name: string) {
      asked.push("remove");
      names.delete(name);
    },
    networks: async () => [...names],
  };
  const networks = new ProjectNetworks({ engine, hostData: "host-1", clock: systemClock, logger: silentLogger });
  return { networks, names, asked };
}

test("a network is made once for all that use it at a time, and removed with the last one's end", async () => {
  const { networks, names, asked } = engineWith();
  const made = await Promise.all(["a", "b", "c"].map((uid) => networks.ensure("projects/one", uid)));
  expect(new Set(made).size).toBe(1);
  expect(await networks.ensure("projects/two", "d")).not.toBe(made[0]);
  networks.release("a");
  networks.release("b");
  await networks.close();
  expect(asked).toEqual(["create", "create"]);
  networks.release("c");
  await networks.close();
  expect(names.size).toBe(1);
});

test("one that was let go of and is wanted again is not made again, and one that was removed is", async () => {
  const { networks, asked } = engineWith();
  await networks.ensure("projects/one", "a");
  networks.release("a");
  await networks.ensure("projects/one", "b");
  await networks.close();
  expect(asked).toEqual(["create"]);
  networks.release("b");
  await networks.close();
  await networks.ensure("projects/one", "c");
  expect(asked).toEqual(["create", "remove", "create"]);
});

test("what an earlier agent left is removed", async () => {
  const { networks, names } = engineWith("stillpoint-left");
  const used = await networks.ensure("projects/one", "a");
  await networks.sweep();
  expect([...names]).toEqual([used]);
});
