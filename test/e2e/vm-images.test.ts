import { randomBytes } from "node:crypto";
import { open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Vm, VmState } from "#contracts/vm/v1/vm";
import { createRegistryClient, importVmImage } from "#libs/oci";
import { eventually, freePort } from "#libs/testing";
import { type Cluster, startCluster } from "../harness/cluster.ts";
import { runCommand } from "../harness/command.ts";
import { RegistryGate } from "../harness/registry-gate.ts";

const MIB = 2 ** 20;
const parent = "projects/default";
const CHUNKS = 40;
/** The agent has so many requests under way; what those bring may be lost with it. */
const AT_A_TIME = 4;

/** VM images on a host: pulled in pieces through whatever happens, kept once, evicted when nobody uses them. */
describe("VM images on a host", () => {
  const resources = new AsyncDisposableStack();
  let cluster: Cluster;
  let gate: RegistryGate;
  let images: string;

  beforeAll(async () => {
    const [registry, gatePort] = [`127.0.0.1:${await freePort()}`, await freePort()];
    gate = resources.use(await RegistryGate.open(registry, gatePort));
    cluster = resources.use(
      await startCluster({
        REGISTRY_HTTP_ADDRESS: registry,
        REGISTRY_HTTP_URL: `http://127.0.0.1:${gatePort}`,
        AGENT_IMAGE_CACHE_BYTES: String(60 * MIB),
        AGENT_DOCKER_HOST: "none",
      }),
    );
    images = join(cluster.agentData, "images");
    const client = createRegistryClient({ address: registry });
    for (const name of ["first", "second"]) {
      const file = await makeDisk(join(cluster.folder, `${name}.raw`));
      await importVmImage({ registry: client, file, reference: `${name}:1` });
    }
    client.close();
  }, 120_000);

  afterAll(async () => {
    for (const { name } of (await cluster.api.vms.listVms({ parent })).vms) await remove(name);
    await resources.disposeAsync();
  }, 60_000);

  /** Gives the operation's name. */
  async function create(vmId: string, image: string): Promise<string> {
    const spec = { image, cpus: 1, memoryBytes: 64 * MIB };
    const { name } = await cluster.api.vms.createVm({ parent, vmId, spec, start: true, requestId: vmId });
    return name;
  }

  async function remove(name: string): Promise<void> {
    await cluster.api.finish(await cluster.api.vms.deleteVm({ name, force: true }));
  }

  const vmOf = (vmId: string): Promise<Vm> => cluster.api.vms.getVm({ name: `${parent}/vms/${vmId}` });

  /** The layer that a VM writes to, as QEMU sees it. */
  async function topLayer(vmId: string): Promise<{ "full-backing-filename": string; "actual-size": number }> {
    const folder = join(cluster.agentData, "workloads", (await vmOf(vmId)).uid, "disks/root");
    const [layer = ""] = await readdir(folder);
    const { stdout } = await runCommand("qemu-img", ["info", "-U", "--output=json", join(folder, layer)]);
    return JSON.parse(stdout);
  }

  test("an agent that is killed in the middle of a pull, and a registry that goes away, cost no chunk twice", async () => {
    gate.delayMs = 150;
    const operation = await create("one", "first:1");
    await eventually(() => gate.reads.length >= CHUNKS / 4, { deadlineMs: 30_000 });
    cluster.services.agent.kill("SIGKILL");
    await eventually(() => gate.reads.length >= CHUNKS / 2 + AT_A_TIME, { deadlineMs: 60_000 });
    expect((await readdir(images)).filter((name) => name.endsWith(".part"))).toHaveLength(1);
    gate.cut();
    expect(gate.reads.length).toBeLessThan(CHUNKS);
    // Each request is tried four times by the client itself.
    await eventually(() => gate.refusals > 4 * AT_A_TIME, { deadlineMs: 30_000 });
    gate.mend();
    await cluster.api.finish({ name: operation });
    expect((await vmOf("one")).state).toBe(VmState.RUNNING);
    // Each of the chunks and twice the config; at the kill and at the cut some were under way.
    expect(new Set(gate.reads).size).toBe(CHUNKS + 1);
    expect(gate.reads.length).toBeLessThanOrEqual(CHUNKS + 2 + 2 * AT_A_TIME);
    expect((await readdir(images)).filter((name) => name.endsWith(".part"))).toEqual([]);
  }, 120_000);

  test("a second VM of an image that is there copies nothing and reads nothing from the registry", async () => {
    const reads = gate.reads.length;
    await cluster.api.finish({ name: await create("two", "first:1") });
    expect((await vmOf("two")).state).toBe(VmState.RUNNING);
    expect(gate.reads.length).toBe(reads);
    const [one, two] = [await topLayer("one"), await topLayer("two")];
    expect(two["full-backing-filename"]).toBe(one["full-backing-filename"]);
    expect(two["full-backing-filename"].startsWith(`${images}/sha256-`)).toBe(true);
    expect(two["actual-size"]).toBeLessThan(MIB);
  }, 60_000);

  test("an image goes when there are too many bytes and no VM uses it, and is pulled again when it is wanted", async () => {
    gate.delayMs = 0;
    await cluster.api.finish({ name: await create("three", "second:1") });
    // More than there may be, but VMs stand on both.
    expect(await readdir(images)).toHaveLength(2);
    await remove(`${parent}/vms/one`);
    expect(await readdir(images)).toHaveLength(2);
    await remove(`${parent}/vms/two`);
    const [left] = await readdir(images);
    expect((await topLayer("three"))["full-backing-filename"]).toBe(join(images, left ?? "", "disk.raw"));
    expect(await readdir(images)).toHaveLength(1);
    const reads = gate.reads.length;
    await cluster.api.finish({ name: await create("four", "first:1") });
    expect(gate.reads.length).toBe(reads + CHUNKS + 1);
  }, 60_000);
});

/** Of a chunk of random bytes each. */
async function makeDisk(path: string): Promise<string> {
  await using file = await open(path, "w");
  for (let chunk = 0; chunk < CHUNKS; chunk += 1) await file.write(randomBytes(MIB));
  return path;
}
