import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { agentReady, importImage, readCheckpoint } from "../demo/database-story.ts";
import { guestApplication } from "../demo/guest-application.ts";
import { buildGuest } from "../guest/build.ts";
import { type Product, startTestProduct } from "../harness/product.ts";

/** The tree of checkpoints of one real guest, through the command line; each part goes on from the one before. */
describe("a tree of checkpoints", () => {
  let product: Product;
  beforeAll(async () => {
    product = await startTestProduct();
    await importImage(product, await buildGuest(), "linux:1");
    const options = ["--memory", "256MiB", "--disk", "64MiB", "--start"];
    await product.json("vm", "create", "tree-1", "--image", "linux:1", ...options);
    await agentReady(product, "tree-1");
  });
  afterAll(async () => {
    await product[Symbol.asyncDispose]();
  });

  const shell = (script: string) => guestApplication(product, "tree-1").exec("sh", "-c", script);
  const write = (word: string) => shell(`for disk in /data /data2; do echo ${word} >>$disk/words; done; sync`);
  const words = async () => (await shell("cat /data/words; echo /; cat /data2/words")).split("\n").join(" ").trim();
  const checkpoint = (verb: string, ...args: string[]) => product.stillpoint("checkpoint", verb, "tree-1", ...args);
  const done = async (verb: string, ...args: string[]) => {
    const { code, stdout, stderr } = await checkpoint(verb, ...args);
    expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
    return stdout;
  };
  const refused = async (reason: string, ...args: [string, ...string[]]) => {
    const { code, stderr } = await checkpoint(...args);
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining(reason) as string });
  };
  const start = async () => {
    await product.json("vm", "start", "tree-1");
    await agentReady(product, "tree-1");
  };
  const setType = (type: string) => product.json("vm", "set", "tree-1", "--checkpoint-type", type);
  const setProject = (type: string) => product.json("project", "set", "default", "--checkpoint-type", type);
  const drawn = async () => {
    const lines = (await done("tree")).split("\n").filter((line) => /^ *[├└│]/.test(line));
    return lines.map((line) => line.replace(/^([ │├└─]*\S+).*$/, "$1"));
  };
  const generation = async () => {
    const { head } = (await product.json("checkpoint", "list", "tree-1")) as { head: { generationId: string } };
    return head.generationId;
  };

  test("the policy is the project's unless the VM has its own, and changes at any time", async () => {
    await setProject("disabled");
    await refused("CHECKPOINT_DISABLED", "create");
    await setType("production-only");
    await refused("CHECKPOINT_TYPE_REFUSED", "create", "--type", "standard");
    await write("one");
    expect(await done("create", "--name", "base")).toMatch(
      /^Production checkpoint "base" is taken, \w+ consistent\.\n$/,
    );
    await setProject("production");
    await setType("default");
    expect(await readCheckpoint(product, "tree-1", "base")).toMatchObject({
      requestedType: "CHECKPOINT_TYPE_PRODUCTION_ONLY",
    });
  });

  test("a fallback says what was asked for, what came of it and why: at once, in the receipt and as an event", async () => {
    await write("two");
    await product.json("vm", "pause", "tree-1");
    const said = "asked for production, got standard, because vm.paused";
    expect(await done("create", "--name", "paused")).toContain(said);
    await product.json("vm", "resume", "tree-1");
    const { receipt } = (await product.json("checkpoint", "get", "tree-1", "paused")) as {
      receipt: { summary: string };
    };
    expect(receipt.summary).toContain(said);
    const { stdout } = await product.stillpoint("events", "-o", "json");
    const fellBack = stdout.split("\n").find((line) => line.includes("stillpoint.checkpoint.v1.fell_back"));
    expect(fellBack ?? stdout).toContain(said);
  });

  test("renaming keeps the checkpoint, and names stay unique", async () => {
    await done("rename", "paused", "before the move: Größe");
    await refused("CHECKPOINT_NAME_TAKEN", "rename", "before the move: Größe", "base");
    await done("rename", "before the move: Größe", "second");
    await refused("CHECKPOINT_NOT_FOUND", "get", "paused");
  });

  test("going back makes a branch, and keeps what was where it is asked to", async () => {
    await write("three");
    const out = await done("apply", "base", "--checkpoint-first", "third", "--yes");
    expect(out).toMatch(/^Production checkpoint "third" is taken.*\nCheckpoint base is applied to tree-1\.\n$/);
    const first = await generation();
    await start();
    expect(await words()).toBe("one / one");
    await write("four");
    await done("create", "--name", "fourth");
    await done("apply", "third", "--yes");
    expect(await generation()).not.toBe(first);
    await start();
    expect(await words()).toBe("one two three / one two three");
    expect(await drawn()).toEqual(["└─ base", "   ├─ second", "   │  └─ third", "   │     └─ now", "   └─ fourth"]);
    expect(await done("tree")).toMatch(/└─ base +production +\w+ +\S+ +[\d.]+ [KMG]iB +[\d.]+ [KMG]iB/);
    expect(await done("tree")).toMatch(/\nTo merge: .*\. Free: .*iB.*\.\n$/);
  });

  test("when the first cannot be taken nothing is applied", async () => {
    await setType("production-only");
    await product.json("vm", "pause", "tree-1");
    await refused("vm.paused", "apply", "base", "--checkpoint-first", "--yes");
    await product.json("vm", "resume", "tree-1");
    await setType("default");
    expect(await words()).toBe("one two three / one two three");
  });

  test("a disk that is left out stays as it is, and the receipt says so", async () => {
    await refused("ARGUMENT_INVALID", "create", "--exclude", "disk7");
    await refused("disk.excluded", "create", "--type", "standard", "--exclude", "disk1");
    expect(await done("create", "--name", "partly", "--exclude", "disk1")).toContain("Left out: disk1.");
    const { receipt } = (await product.json("checkpoint", "get", "tree-1", "partly")) as {
      receipt: { disks: unknown };
    };
    expect(receipt.disks).toMatchObject([
      { id: "root", included: true },
      { id: "disk1", included: false, why: "it was asked to be left out" },
    ]);
    await write("five");
    await done("apply", "partly", "--yes");
    await start();
    expect(await words()).toBe("one two three / one two three five");
  });

  test("one that two lines stand on goes, and what stands on it lives on", async () => {
    await done("protect", "base");
    await refused("CHECKPOINT_PROTECTED", "delete", "base");
    await refused("CHECKPOINT_PROTECTED", "delete", "base", "--subtree");
    await done("unprotect", "base");
    expect(await done("delete", "base")).toContain("Checkpoint base of tree-1 is deleted.");
    expect(await drawn()).toEqual(["├─ second", "│  └─ third", "│     └─ partly", "│        └─ now", "└─ fourth"]);
    expect(await words()).toBe("one two three / one two three five");
    await done("apply", "fourth", "--yes");
    await start();
    expect(await words()).toBe("one four / one four");
  });

  test("a subtree goes whole, and what is left is merged in the end", async () => {
    await done("apply", "third", "--yes");
    await start();
    expect(await done("delete", "second", "--subtree", "--wait")).toBe(
      "Checkpoint second of tree-1 and 2 that stood on it are deleted. Nothing is left to merge.\n",
    );
    expect(await drawn()).toEqual(["├─ fourth", "└─ now"]);
    expect(await words()).toBe("one two three / one two three");
  });
});
