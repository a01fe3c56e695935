import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually, freePort } from "#libs/testing";
import { agentReady, importImage } from "../demo/database-story.ts";
import { guestApplication } from "../demo/guest-application.ts";
import { buildGuest } from "../guest/build.ts";
import { repository } from "../harness/command.ts";
import { type Product, startTestProduct } from "../harness/product.ts";

/** The life of one VM with two disks on a real guest, through the command line; each part goes on from the one before. */
describe("a VM's life", () => {
  let product: Product;
  let hostPort: number;
  let watch: Watch;
  beforeAll(async () => {
    product = await startTestProduct();
    watch = watchVms(product);
    await importImage(product, await buildGuest(), "linux:1");
    hostPort = await freePort();
    const disks = ["--memory", "256MiB", "--disk", "64MiB", "--port", `${hostPort}:8080`];
    await product.json("vm", "create", "web-1", "--image", "linux:1", ...disks, "--start");
    await agentReady(product, "web-1");
  });
  afterAll(async () => {
    await watch[Symbol.asyncDispose]();
    await product[Symbol.asyncDispose]();
  });

  const exec = (...command: string[]) => guestApplication(product, "web-1").exec(...command);
  const shell = (script: string) => exec("sh", "-c", script);
  const bootId = () => exec("cat", "/proc/sys/kernel/random/boot_id");
  const stateOf = async () => ((await product.json("vm", "get", "web-1")) as { state: string }).state;
  const restart = async () => {
    await product.json("vm", "start", "web-1");
    await agentReady(product, "web-1");
  };
  /** Writes a word to both disks, and nothing that was not written before may be missing. */
  const write = (word: string) => shell(`for disk in /data /data2; do echo ${word} >>$disk/words; done; sync`);
  const words = async () => (await shell("cat /data/words; echo /; cat /data2/words")).split("\n").join(" ");
  const refused = async (reason: string, ...args: string[]) => {
    const { code, stderr } = await product.stillpoint(...args);
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining(reason) as string });
  };

  test("a forwarded port of the host reaches the guest", async () => {
    await shell("mkdir -p /run/www && echo hello >/run/www/index.html && httpd -p 0.0.0.0:8080 -h /run/www");
    const body = await eventually(
      async () => (await fetch(`http://127.0.0.1:${hostPort}/`, { signal: AbortSignal.timeout(2_000) })).text(),
      { deadlineMs: 30_000 },
    );
    expect(body).toBe("hello\n");
  });

  test("reboot: the guest's time starts again", async () => {
    const before = await bootId();
    const askedMs = performance.now();
    await product.json("vm", "reboot", "web-1");
    await eventually(() => bootId().then((boot) => boot !== before), { deadlineMs: 60_000 });
    const uptime = await guestApplication(product, "web-1").uptimeSeconds();
    expect(uptime * 1_000).toBeLessThan(performance.now() - askedMs);
  });

  test("pause and resume: nothing runs in between, and the guest goes on where it was", async () => {
    const before = await bootId();
    await product.json("vm", "pause", "web-1");
    expect(await stateOf()).toBe("VM_STATE_PAUSED");
    await refused("VM_STATE", "vm", "exec", "web-1", "--", "true");
    await product.json("vm", "resume", "web-1");
    expect(await bootId()).toBe(before);
  });

  test("stop by ACPI, for a drain of its host: the guest shuts its file systems down; start boots it", async () => {
    const before = await bootId();
    const { host } = (await product.json("vm", "get", "web-1")) as { host: string };
    const id = host.slice("hosts/".length);
    expect(await product.json("host", "drain", id)).toMatchObject({
      output: { stopped: ["projects/default/vms/web-1"], notMoved: [] },
    });
    expect(await stateOf()).toBe("VM_STATE_STOPPED");
    await product.json("vm", "stop", "web-1");
    await product.json("host", "uncordon", id);
    await refused("VM_STATE", "vm", "exec", "web-1", "--", "true");
    await restart();
    expect(await bootId()).not.toBe(before);
  });

  test("a checkpoint covers every disk, and going back makes the tree branch", async () => {
    await write("one");
    await product.json("checkpoint", "create", "web-1", "--name", "first");
    const { receipt } = (await product.json("checkpoint", "get", "web-1", "first")) as {
      receipt: { disks: { id: string; included: boolean }[] };
    };
    expect(receipt.disks.map(({ id, included }) => ({ id, included }))).toEqual([
      { id: "root", included: true },
      { id: "disk1", included: true },
    ]);
    await write("two");
    await product.json("checkpoint", "create", "web-1", "--name", "second");
    await product.json("checkpoint", "apply", "web-1", "first", "--yes");
    expect(await stateOf()).toBe("VM_STATE_STOPPED");
    await restart();
    expect(await words()).toBe("one / one");
    await write("three");
    await product.json("checkpoint", "create", "web-1", "--name", "third");
    const { stdout } = await product.stillpoint("checkpoint", "tree", "web-1");
    const drawn = stdout.split("\n").map((line) => line.replace(/^([ │├└─]*\S+).*$/, "$1"));
    const rows = drawn.filter((line) => /^ *[├└│]/.test(line));
    expect(rows).toEqual(["└─ first", "   ├─ second", "   └─ third", "      └─ now"]);
  });

  test("deleting a checkpoint merges it: what was written before it is still there", async () => {
    await write("four");
    await product.json("checkpoint", "delete", "web-1", "second");
    await product.json("checkpoint", "delete", "web-1", "first");
    expect(await words()).toBe("one three four / one three four");
    await product.json("checkpoint", "apply", "web-1", "third", "--yes");
    await restart();
    expect(await words()).toBe("one three / one three");
  });

  test("a VM with checkpoints is deleted only with them", async () => {
    await refused("VM_HAS_CHECKPOINTS", "vm", "delete", "web-1", "--force");
    await product.json("vm", "delete", "web-1", "--force", "--with-checkpoints");
    expect(await product.json("vm", "list")).not.toHaveProperty("vms");
  });

  test("the watch has told each state as it came", async () => {
    await watch.until("deleted");
    const told = watch.lines().map((line) => line.split(/ +/));
    const words = told.map(([kind = "", , state]) => (kind === "changed" ? `${state}` : kind));
    const changes = words.filter((word, index) => word !== words[index - 1]).join(" ");
    const rebooted = "(stopped running )?"; // a watcher that is quick enough sees the machine go off and on
    const cycles = "paused running stopped running stopped running stopped running";
    expect(changes).toMatch(new RegExp(`^synced creating running ${rebooted}${cycles} deleting deleted$`));
  });

  test("events tell what a person wants to know", async () => {
    const { stdout } = await product.stillpoint("events", "-o", "json");
    const subjects = stdout
      .trim()
      .split("\n")
      .map((line) => (JSON.parse(line) as { subject: string }).subject);
    const told = new Set(subjects.map((subject) => subject.replace(/^evt\.(\w+)\.v1\.(\w+)\..*$/, "$1 $2")));
    expect([...told]).toEqual(
      expect.arrayContaining([
        ...["created", "started", "rebooted", "paused", "resumed", "stopped", "deleting", "deleted"].map(
          (it) => `vm ${it}`,
        ),
        ...["agent_connected", "frozen", "thawed"].map((it) => `vm ${it}`),
        ...["created", "applied", "deleted"].map((it) => `checkpoint ${it}`),
      ]),
    );
  });
});

interface Watch extends AsyncDisposable {
  lines(): string[];
  until(word: string): Promise<void>;
}

/** `vm list --watch`, for as long as the scope lasts. */
function watchVms({ address }: Product): Watch {
  const child = spawn(join(repository, "bin/stillpoint"), ["vm", "list", "--watch"], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, STILLPOINT_ADDRESS: address },
  });
  let printed = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (printed += text));
  const exited = once(child, "exit");
  return {
    lines: () => printed.split("\n").filter((line) => line !== ""),
    until: async (word) => void (await eventually(() => printed.includes(word), { deadlineMs: 10_000 })),
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGTERM");
      await exited;
    },
  };
}
