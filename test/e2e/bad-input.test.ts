import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { pack } from "tar-stream";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runCommand } from "../harness/command.ts";
import { type Product, startTestProduct } from "../harness/product.ts";
import { findQemus } from "../harness/qemu-process.ts";

/** What a user can get wrong: one clear error with its reason, exit 1 or 2, and nothing left behind. */
describe("bad input", () => {
  let product: Product;
  beforeAll(async () => {
    product = await startTestProduct();
    const disk = join(product.folder, "empty.raw");
    await writeFile(disk, Buffer.alloc(1 << 20));
    await product.json("image", "import", disk, "empty:1");
    await product.json("vm", "create", "idle-1", "--image", "empty:1", "--memory", "64MiB", "--port", "18080:80");
  });
  afterAll(async () => {
    await product[Symbol.asyncDispose]();
  });

  const create = (name: string, ...options: string[]) => ["vm", "create", name, "--image", "empty:1", ...options];
  test.each([
    { what: "a wrong name", args: create("Web_1"), reason: "NAME_INVALID" },
    { what: "no memory to speak of", args: create("web-1", "--memory", "1MiB"), reason: "ARGUMENT_INVALID" },
    { what: "more cpus than there can be", args: create("web-1", "--cpus", "1000"), reason: "ARGUMENT_INVALID" },
    {
      what: "a root disk smaller than its image",
      args: create("web-1", "--root-size", "64KiB"),
      reason: "ARGUMENT_INVALID",
    },
    { what: "a missing image", args: ["vm", "create", "web-1", "--image", "nothing:1"], reason: "IMAGE_NOT_FOUND" },
    { what: "a name that is taken", args: create("idle-1"), reason: "VM_EXISTS" },
    { what: "a VM that no host fits", args: create("web-1", "--memory", "3TiB"), reason: "NO_HOST_FITS" },
    {
      what: "a host port that is taken",
      args: create("web-1", "--memory", "64MiB", "--port", "18080:81"),
      reason: "NO_HOST_FITS",
    },
    { what: "an unknown VM", args: ["vm", "start", "nobody"], reason: "VM_NOT_FOUND" },
    { what: "a VM in the wrong state", args: ["vm", "pause", "idle-1"], reason: "VM_STATE" },
    { what: "exec in a VM that is off", args: ["vm", "exec", "idle-1", "--", "true"], reason: "VM_STATE" },
    { what: "an unknown checkpoint", args: ["checkpoint", "get", "idle-1", "nothing"], reason: "CHECKPOINT_NOT_FOUND" },
    { what: "an unknown operation", args: ["operation", "get", "op-nothing"], reason: "OPERATION_NOT_FOUND" },
  ])("$what is $reason", async ({ args, reason }) => {
    const before = await leftBehind(product);
    const { code, stdout, stderr } = await product.stillpoint(...args);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain(reason);
    expect(await leftBehind(product)).toEqual(before);
  });

  test("checkpoints of a VM whose policy is disabled are refused", async () => {
    await product.json("vm", "set", "idle-1", "--checkpoint-type", "disabled");
    const { code, stderr } = await product.stillpoint("checkpoint", "create", "idle-1");
    expect(code).toBe(1);
    expect(stderr).toContain("CHECKPOINT_DISABLED");
    expect(await product.json("checkpoint", "list", "idle-1")).not.toHaveProperty("checkpoints");
  });

  describe("images that reach out of themselves", () => {
    const make = async (...args: string[]) => {
      const made = await runCommand("qemu-img", args);
      if (made.code !== 0) throw new Error(made.stderr);
    };
    test.each([
      {
        reason: "IMAGE_BACKING_FILE",
        craft: (path: string) => make("create", "-q", "-f", "qcow2", "-b", "/etc/hostname", "-F", "raw", path, "1M"),
      },
      {
        reason: "IMAGE_DATA_FILE",
        craft: (path: string) => make("create", "-q", "-f", "qcow2", "-o", `data_file=${path}.data`, path, "1M"),
      },
      { reason: "IMAGE_TOO_LARGE", craft: (path: string) => make("create", "-q", "-f", "qcow2", path, "64T") },
    ])("$reason", async ({ reason, craft }) => {
      const path = join(product.folder, `${reason}.qcow2`);
      await craft(path);
      const { code, stderr } = await product.stillpoint("image", "import", path, "bad:1");
      expect(code).toBe(1);
      expect(stderr).toContain(reason);
      expect(JSON.stringify(await product.json("image", "list"))).not.toContain("bad");
    });
  });

  test("an OVA of several disks is imported when it is said which", async () => {
    const path = join(product.folder, "box.ova");
    await writeFile(path, await twoDisks(product.folder));
    const { code, stderr } = await product.stillpoint("image", "import", path, "box:1");
    expect(code).toBe(1);
    for (const word of ["system (system.vmdk)", "data (data.vmdk)", "--disk"]) expect(stderr).toContain(word);
    const image = await product.json("image", "import", path, "box:1", "--disk", "data");
    expect(image).toMatchObject({ reference: "box:1", virtualSizeBytes: 2 << 20 });
    expect((await product.stillpoint("image", "import", path, "box:2", "--format", "vhdx")).stderr).toContain("IMAGE_");
    expect((await product.stillpoint("image", "import", path, "box:2", "--format", "iso")).code).toBe(2);
  });

  test("usage errors end with 2, a server that is away with 3", async () => {
    expect((await product.stillpoint("vm", "create")).code).toBe(2);
    const away = await product.stillpoint("--address", "127.0.0.1:9", "vm", "list");
    expect(away.code).toBe(3);
    expect(away.stderr).toContain("127.0.0.1:9");
  });
});

/** Everything that a failed request could leave: records, reservations, processes. */
async function leftBehind(product: Product) {
  const { vms = [] } = (await product.json("vm", "list")) as { vms?: { name: string }[] };
  const { hosts = [] } = (await product.json("host", "list")) as { hosts?: { used?: unknown }[] };
  const { operations = [] } = (await product.json("operation", "list", "--unfinished")) as { operations?: unknown[] };
  return {
    vms: vms.map(({ name }) => name),
    used: hosts.map(({ used }) => used),
    unfinished: operations.length,
    qemus: (await findQemus(product.folder)).length,
  };
}

/** An OVA with two disks, as another hypervisor exports it. */
async function twoDisks(folder: string): Promise<Buffer> {
  const archive = pack();
  const names = { system: 1, data: 2 };
  const files = Object.keys(names).map((id) => `<File id="f-${id}" href="${id}.vmdk"/>`);
  const disks = Object.entries(names).map(
    ([id, mib]) => `<Disk diskId="${id}" fileRef="f-${id}" capacity="${mib << 20}"/>`,
  );
  const references = `<References>${files.join("")}</References>`;
  archive.entry({ name: "box.ovf" }, `<Envelope>${references}<DiskSection>${disks.join("")}</DiskSection></Envelope>`);
  for (const [id, mib] of Object.entries(names)) {
    const path = join(folder, `${id}.vmdk`);
    await runCommand("qemu-img", ["create", "-q", "-f", "vmdk", "-o", "subformat=streamOptimized", path, `${mib}M`]);
    archive.entry({ name: `${id}.vmdk` }, await readFile(path));
  }
  archive.finalize();
  return await buffer(archive);
}
