import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { agentReady, importImage, readCheckpoint } from "../demo/database-story.ts";
import { guestApplication } from "../demo/guest-application.ts";
import { buildGuest } from "../guest/build.ts";
import { type Product, startTestProduct } from "../harness/product.ts";

interface ReceiptDisk {
  readonly id: string;
  readonly included: boolean;
  readonly why: string;
}

/** A VM with three disks, of which one is left out of checkpoints. */
describe("many disks", () => {
  let product: Product;
  beforeAll(async () => {
    product = await startTestProduct();
    await importImage(product, await buildGuest(), "linux:1");
    const options = ["--memory", "256MiB", "--disk", "64MiB", "--disk", "64MiB,exclude", "--start"];
    await product.json("vm", "create", "disks-1", "--image", "linux:1", ...options);
    await agentReady(product, "disks-1");
  });
  afterAll(async () => {
    await product[Symbol.asyncDispose]();
  });

  const shell = (script: string) => guestApplication(product, "disks-1").exec("sh", "-c", script);
  const write = (word: string) => shell(`for disk in /data /data2 /data3; do echo ${word} >>$disk/words; done; sync`);
  const words = () => shell("for disk in /data /data2 /data3; do echo $(cat $disk/words); done");
  const disksOf = async (checkpoint: string) =>
    ((await readCheckpoint(product, "disks-1", checkpoint)).receipt as unknown as { disks: ReceiptDisk[] }).disks;
  const apply = async (checkpoint: string) => {
    await product.json("checkpoint", "apply", "disks-1", checkpoint, "--yes");
    await product.json("vm", "start", "disks-1");
    await agentReady(product, "disks-1");
  };

  test("one instant of all but the one that is left out; applied, that one goes on", async () => {
    await write("before");
    await product.json("checkpoint", "create", "disks-1", "--name", "all-but-one");
    expect(await disksOf("all-but-one")).toMatchObject([
      { id: "root", included: true },
      { id: "disk1", included: true },
      { id: "disk2", included: false, why: expect.stringMatching(/./) as string },
    ]);
    await write("after");
    await apply("all-but-one");
    expect((await words()).split("\n")).toEqual(["before", "before", "before after"]);
  });

  test("a disk can be left out of one checkpoint", async () => {
    await product.json("checkpoint", "create", "disks-1", "--name", "root-alone", "--exclude", "disk1");
    expect((await disksOf("root-alone")).filter(({ included }) => included)).toMatchObject([{ id: "root" }]);
    await write("later");
    await apply("root-alone");
    expect((await words()).split("\n")).toEqual(["before", "before later", "before after later"]);
  });

  test("RAM and a disk of another time do not fit: standard is refused with its reason, and nothing is left", async () => {
    const args = ["checkpoint", "create", "disks-1", "--name", "never", "--type", "standard"];
    const { code, stderr } = await product.stillpoint(...args);
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining("disk.excluded") as string });
    await shell("echo alive >/data/alive && sync");
  });

  test("deleting them keeps what each disk holds now", async () => {
    for (const name of ["all-but-one", "root-alone"]) await product.json("checkpoint", "delete", "disks-1", name);
    expect((await words()).split("\n")).toEqual(["before", "before later", "before after later"]);
  });
});
