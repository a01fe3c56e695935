import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "#libs/testing";

const hook = join(import.meta.dirname, "../../deploy/guest/fsfreeze-hook");
const logs = (name: string) => `echo "${name} $1" >>"$STILLPOINT_RUN/calls"`;

/** The dispatcher with these writers (name to shell script); `run` gives its exit code, `writers` its last report. */
async function dispatcher(folder: string, scripts: Record<string, string>) {
  const environment = {
    ...process.env,
    STILLPOINT_RUN: join(folder, "run"),
    STILLPOINT_WRITERS: join(folder, "writers"),
    STILLPOINT_WRITER_SECONDS: "1",
  };
  await mkdir(environment.STILLPOINT_WRITERS);
  await mkdir(environment.STILLPOINT_RUN);
  for (const [name, script] of Object.entries(scripts)) {
    await writeFile(join(environment.STILLPOINT_WRITERS, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  }
  return {
    async run(verb: string): Promise<number> {
      const child = spawn(hook, [verb], { env: environment, stdio: "ignore" });
      const [code] = (await once(child, "exit")) as [number];
      return code;
    },
    async states(): Promise<Record<string, string>> {
      const report = JSON.parse(await readFile(join(environment.STILLPOINT_RUN, "writers.json"), "utf8"));
      expect(report.version).toBe(1);
      return Object.fromEntries(
        report.writers.map((writer: { name: string; state: string }) => [writer.name, writer.state]),
      );
    },
    calls: async () => (await readFile(join(environment.STILLPOINT_RUN, "calls"), "utf8")).trim().split("\n"),
  };
}

test("freezes writers in order and thaws them in reverse, once", async () => {
  await using folder = temporaryFolder();
  const hooks = await dispatcher(folder.path, { a: logs("a"), b: "echo absent", c: logs("c") });
  expect(await hooks.run("freeze")).toBe(0);
  expect(await hooks.states()).toEqual({ a: "frozen", b: "absent", c: "frozen" });
  expect(await hooks.run("thaw")).toBe(0);
  expect(await hooks.run("thaw")).toBe(0);
  expect(await hooks.states()).toEqual({ a: "thawed", b: "absent", c: "thawed" });
  expect(await hooks.calls()).toEqual(["a freeze", "c freeze", "c thaw", "a thaw"]);
});

test("lets go of what it held, and of what failed half-way, when a writer fails", async () => {
  await using folder = temporaryFolder();
  const hooks = await dispatcher(folder.path, { a: logs("a"), b: `${logs("b")}; [ $1 = thaw ]`, c: logs("c") });
  expect(await hooks.run("freeze")).toBe(1);
  expect(await hooks.states()).toEqual({ a: "thawed", b: "failed" });
  expect(await hooks.calls()).toEqual(["a freeze", "b freeze", "b thaw", "a thaw"]);
  expect(await hooks.run("thaw")).toBe(0);
  expect(await hooks.states()).toEqual({ a: "thawed", b: "failed" });
});

test("takes a writer that does not end for one that fails", async () => {
  await using folder = temporaryFolder();
  const hooks = await dispatcher(folder.path, { slow: "[ $1 = thaw ] || exec sleep 20" });
  expect(await hooks.run("freeze")).toBe(1);
  expect(await hooks.states()).toEqual({ slow: "failed" });
});

test("says so when a writer does not let go", async () => {
  await using folder = temporaryFolder();
  const hooks = await dispatcher(folder.path, { stuck: "[ $1 = freeze ]" });
  expect(await hooks.run("freeze")).toBe(0);
  expect(await hooks.run("thaw")).toBe(1);
  expect(await hooks.states()).toEqual({ stuck: "failed" });
});

test("refuses any other word", async () => {
  await using folder = temporaryFolder();
  const hooks = await dispatcher(folder.path, {});
  expect(await hooks.run("melt")).toBe(2);
});
