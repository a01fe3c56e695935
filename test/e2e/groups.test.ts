import { readdir, rename } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { dockerEngine, eventually, freePort, type TestEngine } from "#libs/testing";
import { agentReady, importImage, readCheckpoint } from "../demo/database-story.ts";
import { guestApplication } from "../demo/guest-application.ts";
import { buildGuest } from "../guest/build.ts";
import { type Product, startTestProduct } from "../harness/product.ts";
import { programImage, pushImage } from "../images/build.ts";
import { type Counter, counterCommand, counterPort, counterServer, openCounter, startLoad } from "./counter-pair.ts";

interface GroupCheckpointJson {
  readonly displayName: string;
  readonly skewMs?: number;
  readonly fellBack?: boolean;
  readonly reason?: string;
  readonly members: readonly { vm: string; checkpoint: string; consistency: string }[];
  readonly receipt: { readonly frozenTogetherMs: number; readonly members: readonly { receipt: string }[] };
}

const vms = ["shop-1", "shop-2"];

async function ramFile({ folder }: Product, uid: string): Promise<string> {
  const files = await readdir(folder, { recursive: true });
  const [found] = files.filter((file) => file.includes(`/checkpoints/${uid}/`) && file.includes("ram"));
  if (found === undefined) throw new Error(`there is no RAM of ${uid}`);
  return join(folder, found);
}

/** Two guests that depend on each other, checkpointed together under load. */
describe("a group", () => {
  let engine: TestEngine;
  let product: Product;
  const ports: number[] = [];
  beforeAll(async () => {
    engine = await dockerEngine();
    product = await startTestProduct({ AGENT_DOCKER_HOST: `unix://${engine.socketPath}` });
    await importImage(product, await buildGuest(), "linux:1");
    for (const vm of vms) {
      const port = await freePort();
      ports.push(port);
      const options = ["--image", "linux:1", "--memory", "256MiB", "--port", counterPort(port), "--start"];
      await product.json("vm", "create", vm, ...options);
    }
    for (const vm of vms) await agentReady(product, vm);
    await product.json("group", "create", "shop", ...vms, "--type", "production", "--freeze-window", "60s");
  });
  afterAll(async () => {
    await product?.[Symbol.asyncDispose]();
    await engine?.[Symbol.asyncDispose]();
  });

  const startCounters = async () => {
    for (const vm of vms) await guestApplication(product, vm).exec("sh", "-c", counterServer);
  };
  const openCounters = async (of = ports): Promise<[Counter, Counter]> => {
    const opened = of.map((port) => eventually(() => openCounter(port), { deadlineMs: 20_000 }));
    return (await Promise.all(opened)) as [Counter, Counter];
  };
  const checkpoints = async (group = "shop") => {
    const { checkpoints: all = [] } = (await product.json("group", "checkpoints", group)) as {
      checkpoints?: GroupCheckpointJson[];
    };
    return all;
  };
  const reached = async (until: () => boolean) => eventually(async () => until(), { deadlineMs: 30_000 });
  const ofMember = async (vm: string) => {
    const { checkpoints: all = [] } = (await product.json("checkpoint", "list", vm)) as { checkpoints?: unknown[] };
    return all.length;
  };

  test("is taken at one instant: what one member has, the other had before", async () => {
    await startCounters();
    const counters = await openCounters();
    await using load = startLoad(counters);
    await reached(() => load.last >= 20);
    const { code, stdout } = await product.stillpoint("group", "checkpoint", "shop", "--name", "together");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^Checkpoint "together" of 2 members is taken, \d+ ms apart: shop-1 application/);
    const after = load.last;
    await reached(() => load.last >= after + 20);
    const [taken] = await checkpoints();
    expect(taken?.members.map(({ vm, consistency }) => [vm, consistency])).toEqual(
      vms.map((vm) => [`projects/default/vms/${vm}`, "CONSISTENCY_APPLICATION"]),
    );
    expect(taken?.skewMs ?? 0).toBeLessThan(1_000);
    expect(taken?.receipt.frozenTogetherMs).toBeGreaterThan(0);
    expect(await readCheckpoint(product, "shop-1", "together")).toMatchObject({
      groupCheckpoint: expect.stringMatching(/^projects\/default\/groups\/shop\/checkpoints\/gckpt-/) as string,
    });
  });

  test("comes back as a pair", async () => {
    await product.json("group", "apply", "shop", "together", "--yes");
    for (const vm of vms) await product.json("vm", "start", vm);
    for (const vm of vms) await agentReady(product, vm);
    await startCounters();
    const counters = await openCounters();
    const [first = 0, second = 0] = await Promise.all(counters.map((counter) => counter.read()));
    expect(second).toBeGreaterThanOrEqual(20);
    expect([0, 1]).toContain(first - second);
    for (const counter of counters) counter.close();
  });

  /** A container before a VM that it depends on. */
  describe("of a container and a VM", () => {
    const store = "container/store";
    let storePort: number;
    beforeAll(async () => {
      storePort = await freePort();
      const image = await programImage(engine, "redis-server");
      await pushImage(engine, image, new URL(product.registryUrl).host, "redis");
      const options = ["--image", "redis", "--volume", "data:/data", "--port", counterPort(storePort)];
      const quiesce = ["--quiesce", "echo ready; cat >/dev/null"];
      await runStore([...options, ...quiesce], counterCommand);
      await product.json("group", "create", "mixed", store, "vm/shop-1", "--freeze-window", "30s");
    });
    /** Its uid, by which the engine knows it. */
    let uid = "";
    const runStore = async (options: readonly string[], command: readonly string[]) => {
      const { code, stderr } = await product.stillpoint("container", "run", "store", ...options, "--", ...command);
      expect(code, stderr).toBe(0);
      ({ uid } = (await product.json("container", "get", "store")) as { uid: string });
    };
    const pair = () => openCounters([ports[0] ?? 0, storePort]);
    const filesOf = async (part: string) =>
      (await readdir(product.folder, { recursive: true })).filter((file) => file.includes(part));
    const storeState = async () => (await engine.docker.getContainer(uid).inspect()).State;

    test("is taken while both stand still, and comes back as a pair", async () => {
      const counters = await pair();
      {
        await using load = startLoad(counters);
        const before = load.last;
        await reached(() => load.last >= before + 20);
        const { code, stdout, stderr } = await product.stillpoint("group", "checkpoint", "mixed", "--name", "both");
        expect({ code, stderr }).toEqual({ code: 0, stderr: expect.anything() as string });
        const members = "container/store application, shop-1 application";
        expect(stdout).toMatch(new RegExp(`^Checkpoint "both" of 2 members is taken, \\d+ ms apart: ${members}`));
        const after = load.last;
        await reached(() => load.last >= after + 20);
      }
      const [taken] = await checkpoints("mixed");
      expect(taken?.receipt.frozenTogetherMs).toBeGreaterThan(0);
      for (const counter of counters) counter.close();

      await product.json("group", "apply", "mixed", "both", "--yes");
      await product.json("container", "start", "store");
      await product.json("vm", "start", "shop-1");
      await agentReady(product, "shop-1");
      await guestApplication(product, "shop-1").exec("sh", "-c", counterServer);
      const again = await pair();
      const [first = 0, second = 0] = await Promise.all(again.map((counter) => counter.read()));
      expect(second).toBeGreaterThanOrEqual(20);
      expect([0, 1]).toContain(first - second);
      for (const counter of again) counter.close();
    });

    test("is whole or not there when all services are killed while it stands still, and all goes on", async () => {
      await product.stillpoint("group", "checkpoint", "mixed", "--name", "cut", "--async");
      await eventually(async () => (await storeState()).Paused, { deadlineMs: 20_000, everyMs: 10 });
      await product.kill();
      expect((await storeState()).Paused).toBe(true);
      await product.restart();
      await eventually(async () => !(await storeState()).Paused, { deadlineMs: 20_000 });
      const { operations = [] } = (await product.json("operation", "list", "--unfinished")) as {
        operations?: { name: string }[];
      };
      for (const { name } of operations) await product.stillpoint("operation", "wait", name.split("/").at(-1) ?? "");
      expect((await storeState()).Status).toBe("running");
      await guestApplication(product, "shop-1").exec("sh", "-c", "echo thawed >/data/thawed && sync");
      const isThere = (await checkpoints("mixed")).some(({ displayName }) => displayName === "cut");
      const wanted = isThere ? 2 : 1;
      expect([await ofMember(store), (await ofMember("shop-1")) - 1]).toEqual([wanted, wanted]);
      expect(await filesOf("/.tmp-")).toEqual([]);
    });

    test("refuses for all when the container's application does not come to rest, as its memory cannot be saved", async () => {
      await product.json("container", "delete", "store", "--force", "--with-checkpoints");
      const never = ["--image", "redis", "--quiesce", "exit 3"];
      await runStore(never, ["sleep", "1000"]);
      const before = await ofMember("shop-1");
      const { code, stderr } = await product.stillpoint("group", "checkpoint", "mixed", "--name", "never");
      expect(code).toBe(1);
      expect(stderr).toMatch(/quiesce\.failed.*criu\.absent/);
      expect([await ofMember(store), await ofMember("shop-1")]).toEqual([0, before]);
      expect(await filesOf(`${uid}/checkpoints/`)).toEqual([]);
      expect((await storeState()).Status).toBe("running");
    });

    afterAll(async () => {
      for (const { displayName } of await checkpoints("mixed")) {
        await product.json("group", "delete-checkpoint", "mixed", displayName);
      }
      await product.json("group", "delete", "mixed");
    });
  });

  test("a member without an agent decides for all: standard for production, nothing for production-only", async () => {
    // It is started again when it ends: so what starts it has to change.
    const never = "printf '#!/bin/sh\\nexec sleep 2147483647\\n' >/usr/local/sbin/guest-agent";
    const end = "(sleep 1; killall qemu-ga) >/dev/null 2>&1 </dev/null &";
    await guestApplication(product, "shop-2").exec("sh", "-c", `${never}; ${end}`);
    await eventually(
      async () => {
        const vm = (await product.json("vm", "get", "shop-2")) as { guestAgent?: { connected?: boolean } };
        return vm.guestAgent?.connected !== true;
      },
      { deadlineMs: 20_000 },
    );
    const refused = ["group", "checkpoint", "shop", "--name", "never", "--type", "production-only"];
    const { code, stderr } = await product.stillpoint(...refused);
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining("agent.absent") as string });
    expect(await Promise.all(vms.map(ofMember))).toEqual([1, 1]);
    await guestApplication(product, "shop-1").exec("sh", "-c", "echo thawed >/data/thawed && sync");

    await product.json("group", "checkpoint", "shop", "--name", "instead");
    expect((await checkpoints())[1]).toMatchObject({
      ...{ displayName: "instead", fellBack: true, reason: "agent.absent" },
      members: vms.map(() => ({ consistency: "CONSISTENCY_SAVED_STATE" })),
    });
    expect(await readCheckpoint(product, "shop-1", "instead")).toMatchObject({
      ...{ fellBack: true, reason: "group.member_failed" },
      receipt: { detail: expect.stringContaining("shop-2: agent.absent") as string },
    });
  });

  test("is applied to none when the checkpoint of one cannot be", async () => {
    const head = async () =>
      (await product.json("checkpoint", "list", "shop-1")) as { head?: { generationId: string } };
    const before = await head();
    const { checkpoint = "" } = (await checkpoints())[1]?.members[1] ?? {};
    const ram = await ramFile(product, checkpoint.split("/").at(-1) ?? "");
    await rename(ram, `${ram}.away`);
    const { code, stderr } = await product.stillpoint("group", "apply", "shop", "instead", "--yes");
    await rename(`${ram}.away`, ram);
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining("CHECKPOINT_DAMAGED") as string });
    expect((await head()).head).toEqual(before.head);
    await guestApplication(product, "shop-1").exec("sh", "-c", "test -e /data/thawed");
  });

  test("its checkpoints are deleted with those of its members, and then it can be", async () => {
    expect((await product.stillpoint("group", "delete", "shop")).stderr).toContain("GROUP_HAS_CHECKPOINTS");
    for (const name of ["together", "instead"]) await product.json("group", "delete-checkpoint", "shop", name);
    expect(await checkpoints()).toEqual([]);
    expect(await Promise.all(vms.map(ofMember))).toEqual([0, 0]);
    await product.json("group", "delete", "shop");
  });
});
