import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { eventually, temporaryFolder } from "#libs/testing";

const hook = join(import.meta.dirname, "../../deploy/guest/fsfreeze-hook");
const logs = (name: string) => `[ $1 = check ] || echo "${name} $1" >>"$STILLPOINT_RUN/calls"`;

/** The dispatcher with these writers (name to shell script) and settings. */
async function dispatcher(folder: string, scripts: Record<string, string>, settings = "WRITER_SECONDS=1") {
  const at = (name: string) => join(folder, name);
  const env = {
    ...process.env,
    STILLPOINT_RUN: at("run"),
    STILLPOINT_WRITERS: at("writers"),
    STILLPOINT_CONF: at("conf"),
  };
  await mkdir(env.STILLPOINT_WRITERS);
  await mkdir(env.STILLPOINT_RUN);
  await writeFile(env.STILLPOINT_CONF, `${settings}\n`);
  for (const [name, script] of Object.entries(scripts)) {
    await writeFile(join(env.STILLPOINT_WRITERS, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  }
  const read = (name: string) => readFile(join(env.STILLPOINT_RUN, name), "utf8");
  const json = async (name: string) => JSON.parse(await read(name)) as { version: number; writers: Writer[] };
  const start = (verb: string) => spawn(hook, [verb], { env, stdio: "ignore" });
  return {
    start,
    /** Its exit code. */
    run: async (verb: string) => codeOf(start(verb)),
    /** A thaw takes the inventory afterwards, in the background: this waits for it. */
    async thaw(): Promise<number> {
      await rm(join(env.STILLPOINT_RUN, "inventory.json"), { force: true });
      const code = await codeOf(start("thaw"));
      await eventually(() => json("inventory.json").catch(() => undefined));
      return code;
    },
    /** The last report. */
    async states(): Promise<Record<string, string>> {
      const report = await json("writers.json");
      expect(report.version).toBe(1);
      return Object.fromEntries(report.writers.map(({ name, state }) => [name, state]));
    },
    json,
    calls: async () => (await read("calls")).trim().split("\n"),
  };
}

interface Writer {
  name: string;
  state: string;
  ms?: number;
  detail?: string;
}

async function codeOf(child: ChildProcess): Promise<number> {
  const [code] = (await once(child, "exit")) as [number];
  return code;
}

test("freezes writers in order and thaws them in reverse, once", async () => {
  await using folder = temporaryFolder();
  const hooks = await dispatcher(folder.path, { a: logs("a"), b: "echo absent", c: logs("c") });
  expect(await hooks.run("freeze")).toBe(0);
  expect(await hooks.states()).toEqual({ a: "frozen", b: "absent", c: "frozen" });
  expect(await hooks.thaw()).toBe(0);
  expect(await hooks.thaw()).toBe(0);
  expect(await hooks.states()).toEqual({ a: "thawed", b: "absent", c: "thawed" });
  expect(await hooks.calls()).toEqual(["a freeze", "c freeze", "c thaw", "a thaw"]);
});

test("lets go of what it held, and of what failed half-way, when a writer fails", async () => {
  await using folder = temporaryFolder();
  const failing = `${logs("b")}; [ $1 = thaw ] || { echo 'no "disk"' >&2; exit 3; }`;
  const hooks = await dispatcher(folder.path, { a: logs("a"), b: failing, c: logs("c") });
  expect(await hooks.run("freeze")).toBe(1);
  expect(await hooks.states()).toEqual({ a: "thawed", b: "failed" });
  expect((await hooks.json("writers.json")).writers[1]).toMatchObject({ detail: "no disk" });
  expect(await hooks.calls()).toEqual(["a freeze", "b freeze", "b thaw", "a thaw"]);
  expect(await hooks.thaw()).toBe(0);
  expect(await hooks.states()).toEqual({ a: "thawed", b: "failed" });
});

test("takes a writer that does not end for one that fails, each with its own time", async () => {
  await using folder = temporaryFolder();
  const scripts = {
    patient: "[ $1 != freeze ] || sleep 1.5",
    slow: "trap '' TERM; [ $1 != freeze ] || while :; do sleep 0.1; done",
  };
  const hooks = await dispatcher(folder.path, scripts, "WRITER_SECONDS=4 WRITER_LIMITS='slow=1'");
  expect(await hooks.run("freeze")).toBe(1);
  expect(await hooks.states()).toEqual({ patient: "thawed", slow: "failed" });
  expect((await hooks.json("writers.json")).writers[1]).toMatchObject({ detail: "did not end within 1 s" });
});

test("gives all writers together no more than their time", async () => {
  await using folder = temporaryFolder();
  const slow = "[ $1 != freeze ] || sleep 1.2";
  const hooks = await dispatcher(folder.path, { a: slow, b: slow, c: slow }, "FREEZE_SECONDS=2");
  expect(await hooks.run("freeze")).toBe(1);
  expect(await hooks.states()).toEqual({ a: "thawed", b: "failed" });
});

test("says so when a writer does not let go", async () => {
  await using folder = temporaryFolder();
  const hooks = await dispatcher(folder.path, { stuck: "[ $1 != thaw ]" });
  expect(await hooks.run("freeze")).toBe(0);
  expect(await hooks.thaw()).toBe(0);
  expect(await hooks.states()).toEqual({ stuck: "failed" });
});

test("answers the thaw before the writers have let go, and a freeze waits for that", async () => {
  await using folder = temporaryFolder();
  const slow = `[ $1 != thaw ] || until [ -e "$STILLPOINT_RUN/go" ]; do sleep 0.05; done; ${logs("a")}`;
  const hooks = await dispatcher(folder.path, { a: slow }, "WRITER_SECONDS=30");
  expect([await hooks.run("freeze"), await hooks.run("thaw"), await hooks.run("thaw")]).toEqual([0, 0, 0]);
  expect(await hooks.states()).toEqual({ a: "frozen" });
  const again = codeOf(hooks.start("freeze"));
  await writeFile(join(folder.path, "run/go"), "");
  expect([await again, await hooks.thaw()]).toEqual([0, 0]);
  // The inventory that was waited for may be that of the first thaw.
  const all = ["a freeze", "a thaw", "a freeze", "a thaw"];
  await vi.waitFor(async () => expect(await hooks.calls()).toEqual(all), 5_000);
});

test("a thaw lets go by itself when nobody attends any more, and says so when a writer does not", async () => {
  await using folder = temporaryFolder();
  const hooks = await dispatcher(folder.path, { a: logs("a"), stuck: "[ $1 != thaw ]" });
  expect(await hooks.run("freeze")).toBe(0);
  process.kill(Number(await readFile(join(folder.path, "run/attendant"), "utf8")), "SIGKILL");
  expect(await hooks.thaw()).toBe(1);
  expect(await hooks.states()).toEqual({ a: "thawed", stuck: "failed" });
  expect(await hooks.calls()).toEqual(["a freeze", "a thaw"]);
});

test("a thaw without a freeze calls nobody", async () => {
  await using folder = temporaryFolder();
  const hooks = await dispatcher(folder.path, { a: logs("a") });
  expect(await hooks.run("thaw")).toBe(0);
  await expect(hooks.calls()).rejects.toThrow("ENOENT");
});

test.for(["SIGKILL", "SIGTERM"] as const)(
  "killed by %s in the middle: the thaw lets go of all, and ends the writer",
  async (signal) => {
    await using folder = temporaryFolder();
    const late = `${logs("b")}; [ $1 != freeze ] || { sleep 2; echo "b held" >>"$STILLPOINT_RUN/calls"; }`;
    const hooks = await dispatcher(folder.path, { a: logs("a"), b: late }, "WRITER_SECONDS=4");
    const child = hooks.start("freeze");
    await eventually(async () => (await hooks.calls().catch(() => [""])).includes("b freeze"));
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
    expect(await hooks.thaw()).toBe(0);
    expect(await hooks.states()).toEqual({ a: "thawed", b: "failed" });
    const calls = await hooks.calls();
    expect(calls.slice(0, 4)).toEqual(["a freeze", "b freeze", "b thaw", "a thaw"]);
    expect(calls).not.toContain("b held");
  },
);

test("a freeze lets go first of what an earlier one holds", async () => {
  await using folder = temporaryFolder();
  const hooks = await dispatcher(folder.path, { a: logs("a") });
  expect([await hooks.run("freeze"), await hooks.run("freeze"), await hooks.thaw()]).toEqual([0, 0, 0]);
  expect(await hooks.calls()).toEqual(["a freeze", "a thaw", "a freeze", "a thaw"]);
});

test("takes an inventory, without those that are switched off or no programs", async () => {
  await using folder = temporaryFolder();
  const scripts = {
    a: "echo 1.2 on /run/a",
    b: "echo absent no server",
    c: "echo 'bad\\ly' >&2; exit 1",
    off: logs("off"),
  };
  const hooks = await dispatcher(folder.path, scripts, "WRITERS_OFF='off gone'");
  await writeFile(join(folder.path, "writers/prelude.sh"), "", { mode: 0o644 });
  expect(await hooks.run("inventory")).toBe(0);
  expect(await hooks.json("inventory.json")).toEqual({
    version: 1,
    dispatcher: "1",
    writers: [
      { name: "a", state: "ready", detail: "1.2 on /run/a" },
      { name: "b", state: "absent", detail: "no server" },
      { name: "c", state: "broken", detail: "badly" },
    ],
  });
});

test("vetoes with settings that cannot be read", async () => {
  await using folder = temporaryFolder();
  const hooks = await dispatcher(folder.path, {}, "WRITERS_OFF='unclosed");
  expect(await hooks.run("freeze")).toBe(2);
});

test("refuses any other word", async () => {
  await using folder = temporaryFolder();
  const hooks = await dispatcher(folder.path, {});
  expect(await hooks.run("melt")).toBe(2);
});
