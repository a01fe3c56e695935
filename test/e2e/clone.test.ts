import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually, temporaryFolder } from "#libs/testing";
import { agentReady, importImage } from "../demo/database-story.ts";
import { guestApplication } from "../demo/guest-application.ts";
import { buildGuest } from "../guest/build.ts";
import { runCommand } from "../harness/command.ts";
import { type Product, startTestProduct } from "../harness/product.ts";
import { findQemus } from "../harness/qemu-process.ts";

interface CheckpointJson {
  readonly uid: string;
  readonly displayName: string;
  readonly parent?: string;
  readonly origin?: string;
  readonly consistency: string;
  readonly receipt: { readonly checkpoint: string; readonly received?: { readonly origin: string }[] };
}

interface Manifest {
  readonly generationId: string;
  readonly layers: Record<string, { readonly disk: string; readonly parent: string | null }>;
  readonly checkpoints: Record<string, { readonly layers: Record<string, string> }>;
}

/** Clones of a real guest with two disks, of which one is written to in turn; each part goes on from the one before. */
describe("clones of a checkpoint", () => {
  let product: Product;
  beforeAll(async () => {
    product = await startTestProduct();
    await importImage(product, await buildGuest(), "linux:1");
    await product.json(
      ...["vm", "create", "web-1", "--image", "linux:1", "--memory", "256MiB", "--disk", "64MiB", "--start"],
    );
    await agentReady(product, "web-1");
    await bootId("web-1"); // the kernel makes it when it is first read
    await write("web-1", "one");
    await product.json("checkpoint", "create", "web-1", "--name", "first");
    await write("web-1", "two");
    await product.json("checkpoint", "create", "web-1", "--name", "second", "--type", "standard");
    await write("web-1", "three");
  });
  afterAll(async () => {
    await product[Symbol.asyncDispose]();
  });

  const shell = (vm: string, script: string) => guestApplication(product, vm).exec("sh", "-c", script);
  const write = (vm: string, word: string) =>
    shell(vm, `for disk in /data /data2; do echo ${word} >>$disk/words; done; sync`);
  const words = async (vm: string) =>
    (await shell(vm, "cat /data/words; echo /; cat /data2/words")).split("\n").join(" ");
  const bootId = (vm: string) => shell(vm, "cat /proc/sys/kernel/random/boot_id");
  const vm = async (name: string) => (await product.json("vm", "get", name)) as { uid: string; state: string };
  const checkpoints = async (name: string) => {
    const { checkpoints: listed = [] } = (await product.json("checkpoint", "list", name)) as {
      checkpoints?: CheckpointJson[];
    };
    return listed;
  };
  const workloads = () => join(product.folder, "data/host/workloads");
  const manifest = async (name: string) =>
    JSON.parse(await readFile(join(workloads(), (await vm(name)).uid, "manifest.json"), "utf8")) as Manifest;
  /** The files of the checkpoint of that name, by disk. */
  const topsOf = async (name: string, checkpoint: string): Promise<Record<string, string>> => {
    const { uid } = await vm(name);
    const found = (await checkpoints(name)).find(({ displayName }) => displayName === checkpoint);
    const { layers = {} } = (await manifest(name)).checkpoints[found?.uid ?? ""] ?? {};
    const path = (disk: string, layer: string) => join(workloads(), uid, "disks", disk, `${layer}.qcow2`);
    return Object.fromEntries(Object.entries(layers).map(([disk, layer]) => [disk, path(disk, layer)]));
  };
  const waitsFor = async (name: string) => {
    const { checkpointStorage } = (await product.json("vm", "get", name)) as {
      checkpointStorage?: { mergeWaitsFor?: string };
    };
    return checkpointStorage?.mergeWaitsFor;
  };
  /** Digests of what a guest sees of a checkpoint's disks. */
  const contentOf = async (name: string, checkpoint: string) => {
    const digests = Object.entries(await topsOf(name, checkpoint)).map(
      async ([disk, path]) => [disk, await guestDigest(path)] as const,
    );
    return Object.fromEntries(await Promise.all(digests));
  };

  test("a linked clone starts from the checkpoint, with files of its own only for what it changes", async () => {
    const { code, stdout, stderr } = await product.stillpoint(
      "checkpoint",
      "clone",
      "web-1",
      "first",
      "linked",
      "--start",
    );
    expect({ code, stdout, stderr }).toMatchObject({
      code: 0,
      stdout: 'VM linked is made from production checkpoint "first" of web-1: application consistent. It starts.\n',
    });
    await agentReady(product, "linked");
    expect(await words("linked")).toBe("one / one");
    await write("linked", "clone");
    expect(await words("web-1")).toBe("one two three / one two three");
    expect(await words("linked")).toBe("one clone / one clone");
    const [source, clone] = [await topsOf("web-1", "first"), await topsOf("linked", "first")];
    for (const [disk, path] of Object.entries(clone)) {
      expect((await stat(path)).ino).toBe((await stat(source[disk] ?? "")).ino);
    }
    expect((await manifest("linked")).generationId).not.toBe((await manifest("web-1")).generationId);
  });

  test("its tree begins with the checkpoint that it came from, evidence included", async () => {
    const [source] = await checkpoints("web-1");
    const [clone, ...others] = await checkpoints("linked");
    const name = `projects/default/vms/web-1/checkpoints/${source?.uid}`;
    expect(others).toEqual([]);
    expect(clone).toMatchObject({ displayName: "first", origin: name, consistency: "CONSISTENCY_APPLICATION" });
    expect(clone?.uid).not.toBe(source?.uid);
    expect(clone?.parent ?? "").toBe("");
    expect(clone?.receipt).toMatchObject({ checkpoint: source?.uid, received: [{ origin: name }] });
    expect((await product.stillpoint("checkpoint", "tree", "linked")).stdout).toMatch(/first.*\n.*now/s);
  });

  test("a full copy of a standard checkpoint goes on at its instant, and shares no file", async () => {
    const source = await bootId("web-1");
    const { stdout } = await product.stillpoint("checkpoint", "clone", "web-1", "second", "full", "--full", "--start");
    expect(stdout).toBe(
      'VM full is made from standard checkpoint "second" of web-1: saved-state consistent. It goes on at that instant.\n',
    );
    await agentReady(product, "full");
    expect(await bootId("full")).toBe(source);
    expect(await words("full")).toBe("one two / one two");
    for (const path of Object.values(await topsOf("full", "second"))) {
      const info = JSON.parse((await runCommand("qemu-img", ["info", "-U", "--output=json", path])).stdout) as object;
      expect(info).not.toHaveProperty("backing-filename");
      expect((await stat(path)).nlink).toBe(1);
    }
    expect(await contentOf("full", "second")).toEqual(await contentOf("web-1", "second"));
  });

  test("a clone of a standard checkpoint that is not started stays off, and may go on at the instant later", async () => {
    await product.json("checkpoint", "clone", "web-1", "second", "later");
    expect((await vm("later")).state).toBe("VM_STATE_STOPPED");
    await product.json("checkpoint", "apply", "later", "second", "--yes");
    await agentReady(product, "later");
    expect(await bootId("later")).toBe(await bootId("web-1"));
    await product.json("vm", "delete", "later", "--force", "--with-checkpoints");
  });

  test("what is merged in the source and in the clone leaves the other's content alone", async () => {
    await product.json("checkpoint", "clone", "web-1", "second", "twin");
    const before = { source: await contentOf("web-1", "second"), first: await contentOf("linked", "first") };
    await product.json("checkpoint", "delete", "web-1", "first");
    await eventually(async () => (await waitsFor("web-1")) === "clone.linked", { deadlineMs: 60_000 });
    await write("web-1", "four");
    await product.json("checkpoint", "create", "twin", "--name", "third");
    await product.json("checkpoint", "delete", "twin", "second");
    await eventually(async () => Object.keys((await manifest("twin")).layers).length === 4, { deadlineMs: 60_000 });
    expect(await contentOf("web-1", "second")).toEqual(before.source);
    expect(await contentOf("twin", "third")).toEqual(before.source);
    expect(await contentOf("linked", "first")).toEqual(before.first);
    expect(await words("web-1")).toBe("one two three four / one two three four");
  });

  test("a clone outlives its source, and another clone of the same layers", async () => {
    const before = { twin: await contentOf("twin", "third"), linked: await contentOf("linked", "first") };
    await product.json("vm", "delete", "web-1", "--force", "--with-checkpoints");
    expect(await words("linked")).toBe("one clone / one clone");
    await product.json("vm", "stop", "linked", "--force");
    await product.json("vm", "start", "linked");
    await agentReady(product, "linked");
    expect(await words("linked")).toBe("one clone / one clone");
    await product.json("vm", "delete", "linked", "--force", "--with-checkpoints");
    expect(await contentOf("twin", "third")).toEqual(before.twin);
    await product.json("vm", "start", "twin");
    await agentReady(product, "twin");
    expect(await words("twin")).toBe("one two / one two");
  });

  test("a clone that cannot be made leaves nothing behind", async () => {
    const before = await leftovers();
    const { code, stderr } = await product.stillpoint("checkpoint", "clone", "twin", "third", "full");
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining("VM_EXISTS") as string });
    const wrong = await product.stillpoint("checkpoint", "clone", "twin", "never", "another");
    expect(wrong).toMatchObject({ code: 1, stderr: expect.stringContaining("CHECKPOINT_NOT_FOUND") as string });
    const bad = await product.stillpoint("checkpoint", "clone", "twin", "third", "Bad_Name");
    expect(bad.stderr).toContain("NAME_INVALID");
    expect(await leftovers()).toEqual(before);
  });

  /** What is on the host, in lists and in use. */
  async function leftovers() {
    const { vms } = (await product.json("vm", "list")) as { vms: { name: string }[] };
    const { hosts } = (await product.json("host", "list")) as { hosts: { reservations?: { uid: string }[] }[] };
    return {
      vms: vms.map(({ name }) => name),
      folders: await readdir(workloads()),
      reservations: hosts.flatMap(({ reservations = [] }) => reservations.map(({ uid }) => uid)).toSorted(),
      qemus: (await findQemus(product.folder)).map(({ pid }) => pid),
    };
  }
});

/** sha256 of a disk as a guest sees it, through its whole chain. */
async function guestDigest(path: string): Promise<string> {
  await using folder = temporaryFolder();
  const raw = join(folder.path, "disk.raw");
  const { code, stderr } = await runCommand("qemu-img", ["convert", "-U", "-f", "qcow2", "-O", "raw", path, raw]);
  if (code !== 0) throw new Error(`qemu-img convert ${path}: ${stderr}`);
  const hash = createHash("sha256");
  for await (const piece of createReadStream(raw)) hash.update(piece as Buffer);
  return hash.digest("hex");
}
