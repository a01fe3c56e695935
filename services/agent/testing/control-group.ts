import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdir, rmdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type ControlGroup, endGroup, hierarchies } from "../lease/control-group.ts";

/** A control group with a program in it that counts into a file, as a container's would be: with no engine. */
export interface CountingGroup extends AsyncDisposable {
  /** 64 digits, in its name. */
  readonly id: string;
  readonly group: ControlGroup;
  count(): Promise<number>;
}

/** Where groups of this kind are on this machine; undefined where there are none. */
export const groupsOf = (version: 1 | 2): string | undefined =>
  hierarchies().find((it) => it.version === version)?.path;

export async function startCounting(root: string, version: 1 | 2, folder: string): Promise<CountingGroup> {
  const id = randomBytes(32).toString("hex");
  const path = join(root, `stillpoint-test-${id}.scope`);
  await mkdir(path);
  const file = join(folder, id);
  const program = `const { appendFileSync } = require("node:fs"); setInterval(() => appendFileSync(process.argv[1], "."), 5)`;
  const child = spawn(process.execPath, ["-e", program, file], { stdio: "ignore" });
  await once(child, "spawn");
  await writeFile(join(path, "cgroup.procs"), String(child.pid));
  const group = { path, version };
  return {
    id,
    group,
    count: async () => (await stat(file).catch(() => ({ size: 0 }))).size,
    async [Symbol.asyncDispose]() {
      await endGroup(group);
      await rmdir(path);
    },
  };
}
