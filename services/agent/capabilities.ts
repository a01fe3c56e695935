import { randomUUID } from "node:crypto";
import { readFile, statfs } from "node:fs/promises";
import { cpus, totalmem } from "node:os";
import { join } from "node:path";
import { writeDurably } from "./durable-file.ts";
import type { QemuFacts } from "./qemu/probe.ts";

/** What a host has, as it is: overcommit and reserved parts are the scheduler's. */
export interface Capacity {
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
}

export async function readCapacity(data: string): Promise<Capacity> {
  const { blocks, bsize } = await statfs(data);
  return { cpus: cpus().length, memoryBytes: totalmem(), diskBytes: blocks * bsize };
}

/** What was probed here, in the words that placement and explanations use. */
export function capabilityNames({ platform, backgroundSnapshot }: QemuFacts): string[] {
  return ["qemu", `accelerator:${platform.accelerator}`, ...(backgroundSnapshot ? ["background-snapshot"] : [])];
}

/** `host-<uuid>`, made once for a data folder. */
export async function hostUid(data: string): Promise<string> {
  const path = join(data, "host-uid");
  const known = await readFile(path, "utf8").catch(() => undefined);
  if (known !== undefined) return known.trim();
  const uid = `host-${randomUUID()}`;
  await writeDurably(path, `${uid}\n`);
  return uid;
}
