import { copyFile, mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { TestServer } from "#libs/testing";
import { repository } from "../harness/command.ts";
import { type LogsPlace, readAll } from "./read-logs.ts";

/** Where the story of a test comes from. */
export interface Told extends Partial<LogsPlace> {
  /** Has the log of every process, <name>.log. */
  readonly folder: string;
  /** Has each its server.log. */
  readonly servers?: readonly Pick<TestServer, "folder">[];
  /** The newest lines of what was written, if somebody has read along. */
  readonly lines?: readonly string[];
}

interface Story {
  readonly name: string;
  /** Runs it again. */
  readonly command: string;
  readonly seed: number;
  readonly errors: readonly string[];
  readonly run: { readonly log: readonly string[] };
}

const PATIENCE_MS = 10_000;
const SHOWN = 40;

/** Keeps all that is needed to look into a failure below fault-logs/, and prints where and the faults themselves. */
export async function saveStory(story: Story, told: Told | undefined): Promise<void> {
  const { name, command, seed, run } = story;
  const folder = join(repository, "fault-logs", `${name}-${seed}-${Date.now()}`.replaceAll(" ", "-"));
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const keep = (file: string, lines: readonly string[]) => writeFile(join(folder, file), `${lines.join("\n")}\n`);
  await keep("faults.log", run.log);
  await keep("failure.txt", [command, ...story.errors]);
  if (told !== undefined)
    await saveLogs(folder, told).catch((error: unknown) => keep("incomplete.txt", [String(error)]));
  const faults = run.log.slice(-SHOWN).join("\n  ");
  console.error(`seed ${seed}; run it again:\n  ${command}\nlogs and records: ${folder}\nfaults:\n  ${faults}`);
}

async function saveLogs(folder: string, told: Told): Promise<void> {
  const logs = (await readdir(told.folder)).filter((name) => name.endsWith(".log"));
  for (const name of logs) await copyFile(join(told.folder, name), join(folder, name));
  for (const [index, server] of (told.servers ?? []).entries())
    await copyFile(join(server.folder, "server.log"), join(folder, `server-${index + 1}.log`));
  if (told.lines !== undefined) await writeFile(join(folder, "writes.log"), `${told.lines.join("\n")}\n`);
  if (told.nats === undefined) return;
  const read = await Promise.race([readAll({ nats: told.nats }), sleep(PATIENCE_MS)]);
  if (read === undefined) throw new Error(`NATS did not give its records in ${PATIENCE_MS} ms`);
  await writeFile(join(folder, "records.json"), read.records);
  await writeFile(join(folder, "operations.json"), read.operations);
}
