import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { isGone } from "../../services/agent/testing/process-state.ts";

/** Ends the fence guard of a host, which outlives its agent, by the agent's data folder; nothing where there is none. */
export async function stopGuard(data: string): Promise<void> {
  const pid = Number(await readFile(join(data, "fence.pid"), "utf8").catch(() => ""));
  if (pid > 0 && !(await isGone(pid))) process.kill(pid, "SIGKILL");
}
