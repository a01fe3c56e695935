import { readFile } from "node:fs/promises";

export interface ProcessCost {
  /** Taken since it began, by all its threads. */
  readonly cpuSeconds: number;
  readonly residentMib: number;
}

/** What a process takes of this machine. */
export async function costOf(pid: number): Promise<ProcessCost> {
  const read = (file: string) => readFile(`/proc/${pid}/${file}`, "utf8");
  const [stat, status] = await Promise.all([read("stat"), read("status")]);
  const [user = 0, system = 0] = (stat.split(") ")[1]?.split(" ") ?? []).slice(11, 13).map(Number);
  return {
    cpuSeconds: (user + system) / 100,
    residentMib: Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024,
  };
}
