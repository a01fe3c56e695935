import { readFile } from "node:fs/promises";

/** CPU that processes took, whatever else the machine does meanwhile: user and system, their threads' with it. */
export interface CpuMeter {
  /** Milliseconds by name since the meter was begun; those of a name are added up. */
  read(): Promise<Record<string, number>>;
}

/** `processes`: name and process id of each. This process is there as "client". */
export async function startCpuMeter(processes: readonly (readonly [string, number | undefined])[]): Promise<CpuMeter> {
  const all = [...processes, ["client", process.pid] as const];
  const look = () => Promise.all(all.map(async ([name, pid]) => [name, await cpuMs(pid ?? 0)] as const));
  const before = await look();
  return {
    async read() {
      const spent: Record<string, number> = {};
      for (const [index, [name, ms]] of (await look()).entries()) {
        spent[name] = (spent[name] ?? 0) + ms - (before[index]?.[1] ?? 0);
      }
      return spent;
    },
  };
}

/** Of all its time (proc_pid_stat(5)); a tick is 10 ms on every Linux that Node runs on. */
async function cpuMs(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  const [user = 0, system = 0] = (stat.split(") ").at(-1) ?? "").split(" ").slice(11, 13).map(Number);
  return (user + system) * 10;
}

export const sumOf = (spent: Readonly<Record<string, number>>): number =>
  Object.values(spent).reduce((sum, ms) => sum + ms, 0);
