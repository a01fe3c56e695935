import { open, readFile, truncate } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createRegistryClient, findRemoteCheckpoint } from "#libs/oci";
import { eventually, type TemporaryFolder, temporaryFolder } from "#libs/testing";
import { agentReady, importImage } from "../demo/database-story.ts";
import { guestApplication } from "../demo/guest-application.ts";
import { buildGuest } from "../guest/build.ts";
import { FailpointSwitch } from "../harness/failpoint-switch.ts";
import { changedBytes, ownLayers, type ReceiptDisk } from "../harness/own-layers.ts";
import { type Product, startTestProduct } from "../harness/product.ts";

interface Pushed {
  readonly output: {
    readonly reference: string;
    readonly digest: string;
    readonly bytesSent: number;
    readonly bytesTotal: number;
    readonly chunksSent: number;
    readonly chunksTotal: number;
  };
}

/** It is known which parts of which layers are to be read; none has been. */
const planned = "agent.push-checkpoint.planned";

/** Two installations, each with its own registry, data folder and host; each part goes on from the one before. */
describe("checkpoints that travel", () => {
  let here: Product;
  let there: Product;
  let switches: TemporaryFolder;
  let failpoints: FailpointSwitch;
  beforeAll(async () => {
    switches = temporaryFolder();
    failpoints = await FailpointSwitch.create(switches.path, { [planned]: "delay:5000" });
    here = await startTestProduct({ STILLPOINT_FAILPOINTS: failpoints.specification });
    there = await startTestProduct({ REGISTRY_HTTP_URL: here.registryUrl });
    await importImage(here, await buildGuest(), "linux:1");
    await here.json("vm", "create", "web-1", "--image", "linux:1", "--memory", "256MiB", "--disk", "1GiB", "--start");
    await agentReady(here, "web-1");
  });
  afterAll(async () => {
    await there[Symbol.asyncDispose]();
    await here[Symbol.asyncDispose]();
    await switches[Symbol.asyncDispose]();
  });

  const shell = (product: Product, vm: string, script: string) =>
    guestApplication(product, vm).exec("sh", "-c", script);
  const push = async (checkpoint: string, ...more: string[]) =>
    ((await here.json("checkpoint", "push", "web-1", checkpoint, ...more)) as Pushed).output;
  /** They come after it was taken, and a receipt that has changed is sent again. */
  const hasDigests = (checkpoint: string) =>
    eventually(
      async () => {
        const { disks } = (await here.json("checkpoint", "receipt", "web-1", checkpoint)) as { disks: ReceiptDisk[] };
        return disks.every(({ digest }) => digest.startsWith("sha256:"));
      },
      { deadlineMs: 30_000 },
    );
  /** Bytes of the clusters that a checkpoint's own layers hold. */
  const changedIn = async (checkpoint: string) => {
    const { uid } = (await here.json("vm", "get", "web-1")) as { uid: string };
    const { disks } = (await here.json("checkpoint", "receipt", "web-1", checkpoint)) as { disks: ReceiptDisk[] };
    return changedBytes(await ownLayers(join(here.folder, "data"), uid, disks));
  };

  test("the first push sends all that the disks hold, and nothing when it is repeated", async () => {
    const script = [
      "cd /data2; mkdir files logs",
      "for n in $(seq 200); do head -c 40000 /dev/urandom >files/$n; done",
      "for n in $(seq 7); do head -c 200000 /dev/urandom >logs/$n; done; sync",
    ];
    await shell(here, "web-1", script.join("; "));
    await here.json("checkpoint", "create", "web-1", "--name", "first one");
    await hasDigests("first one");
    const first = await push("first one");
    expect(first.reference).toBe("checkpoints/web-1:first-one");
    expect(first.bytesSent).toBeGreaterThan(9_400_000);
    expect(first.bytesSent).toBeGreaterThan(first.bytesTotal * 0.9);
    const again = await push("first one");
    expect(again).toMatchObject({ digest: first.digest, bytesSent: 0, chunksSent: 0, bytesTotal: first.bytesTotal });
  });

  test("the next push reads and sends little more than what changed, while the VM runs", async () => {
    const script = [
      "cd /data2",
      "for n in $(seq 1 4 197); do head -c 3000 /dev/urandom | dd of=files/$n bs=1000 seek=7 conv=notrunc 2>/dev/null; done",
      "head -c 5000000 /dev/urandom >big",
      "for n in $(seq 7); do head -c 5000 /dev/urandom >>logs/$n; done",
      "for n in $(seq 3 10 193); do rm files/$n; done; sync",
    ];
    await shell(here, "web-1", script.join("; "));
    await here.json("checkpoint", "create", "web-1", "--name", "second");
    const changed = await changedIn("second");
    const { bytesSent, bytesTotal, chunksSent } = await push("second");
    process.stderr.write(
      `changed ${changed}, sent ${bytesSent} (${(bytesSent / changed).toFixed(2)}), ${chunksSent} chunks\n`,
    );
    expect(changed).toBeGreaterThan(5_000_000);
    expect(bytesSent).toBeLessThan(2.5 * changed);
    expect(bytesSent).toBeLessThan(bytesTotal);
    const { pushed } = (await here.json("checkpoint", "get", "web-1", "second")) as { pushed: { reference: string }[] };
    expect(pushed).toMatchObject([{ reference: "checkpoints/web-1:second" }]);
  });

  test("another installation makes a VM of it, with all that was there", async () => {
    const sums = "cd /data2; cat big files/* logs/* | sha256sum; ls -R | sha256sum";
    const before = await shell(here, "web-1", sums);
    const reference = "checkpoints/web-1:second";
    await there.json("checkpoint", "pull", reference, "--vm", "web-2", "--start");
    await agentReady(there, "web-2");
    expect(await shell(there, "web-2", sums)).toBe(before);
    const got = (await there.json("checkpoint", "get", "web-2", "second")) as { origin: string; consistency: string };
    expect(got.origin).toMatch(/^checkpoints\/web-1@sha256:/);
    expect(got.consistency).toBe("CONSISTENCY_APPLICATION");
  });

  test("a checkpoint is pushed whole although its layers are merged down in the middle of it", async () => {
    // As much as makes it worth to merge down; a guest is slow at random numbers.
    await shell(
      here,
      "web-1",
      "cd /tmp; head -c 4000000 /dev/urandom >one; for n in $(seq 20); do cat one; done >/data2/old; sync",
    );
    await here.json("checkpoint", "create", "web-1", "--name", "old");
    await shell(here, "web-1", "cd /data2; dd if=/dev/urandom of=old bs=1M count=4 seek=9 conv=notrunc; sync");
    await here.json("checkpoint", "create", "web-1", "--name", "kept");
    const before = await shell(here, "web-1", "sha256sum /data2/old");
    await failpoints.arm(planned);
    let isPushed = false;
    const pushing = push("kept").finally(() => (isPushed = true));
    await failpoints.untilFired(planned);
    await here.json("checkpoint", "delete", "web-1", "old", "--wait");
    expect(await readFile(join(here.folder, "data/log/stillpoint.log"), "utf8")).toContain('"direction":"down"');
    expect(isPushed).toBe(false);
    await pushing;
    await there.json("checkpoint", "pull", "checkpoints/web-1:kept", "--vm", "web-6", "--start");
    await agentReady(there, "web-6");
    expect(await shell(there, "web-6", "sha256sum /data2/old")).toBe(before);
  });

  test("the pulled VM pushes its next checkpoint, and the first installation brings that into its own tree", async () => {
    await shell(there, "web-2", "echo from there >/data2/note; sync");
    await there.json("checkpoint", "create", "web-2", "--name", "third");
    await there.json("checkpoint", "push", "web-2", "third", "checkpoints/web-1:third");
    await here.json("checkpoint", "pull", "checkpoints/web-1:third", "--into", "web-1", "--name", "from there");
    await here.json("checkpoint", "apply", "web-1", "from there", "--yes");
    await here.json("vm", "start", "web-1");
    await agentReady(here, "web-1");
    expect(await shell(here, "web-1", "cat /data2/note")).toBe("from there");
  });

  test("a standard checkpoint goes through a folder to another installation, and on at its instant", async () => {
    await shell(here, "web-1", "echo in memory >/run/word; cat /proc/sys/kernel/random/boot_id >/run/boot");
    const boot = await shell(here, "web-1", "cat /run/boot");
    await here.json("checkpoint", "create", "web-1", "--name", "with RAM", "--type", "standard");
    const folder = join(here.folder, "exported");
    const { code, stdout } = await here.stillpoint("checkpoint", "export", "web-1", "with RAM", folder);
    expect({ code, stdout }).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^saved-state consistent/) as string,
    });
    await there.json("checkpoint", "import", folder, "--registry", here.registryUrl, "--vm", "web-3", "--start");
    await agentReady(there, "web-3");
    expect(await shell(there, "web-3", "cat /run/word /proc/sys/kernel/random/boot_id")).toBe(`in memory\n${boot}`);

    await truncate(join(folder, "ram.zst"), 1000);
    const refused = await there.stillpoint("checkpoint", "import", folder, "--vm", "web-4");
    expect({ code: refused.code, stderr: refused.stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(/CHECKPOINT_DAMAGED.*ram\.zst/) as string,
    });
  });

  test("a chunk that was altered in the registry is refused, and nothing of the VM is left", async () => {
    const registry = createRegistryClient({ address: here.registryUrl });
    const { disks } = await findRemoteCheckpoint(registry, "checkpoints/web-1:second").finally(() => registry.close());
    const chunks = disks.find(({ id }) => id === "disk1")?.chunks ?? [];
    // The largest: small blobs are kept in the registry's memory.
    const [largest] = chunks.map((chunk) => chunk.blob).toSorted((one, other) => other.size - one.size);
    expect(largest?.size).toBeGreaterThan(128 * 2 ** 10);
    const hex = largest?.digest.slice("sha256:".length) ?? "";
    const blob = join(here.folder, "data/registry/blobs/sha256", hex.slice(0, 2), hex);
    await using file = await open(blob, "r+");
    const { buffer } = await file.read(Buffer.alloc(1), 0, 1, 20);
    await file.write(Buffer.from([(buffer[0] ?? 0) ^ 1]), 0, 1, 20);
    const { code, stderr } = await there.stillpoint("checkpoint", "pull", "checkpoints/web-1:second", "--vm", "web-5");
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining("IMAGE_CORRUPT") as string });
    expect(JSON.stringify(await there.json("vm", "list"))).not.toContain("web-5");
  });
});
