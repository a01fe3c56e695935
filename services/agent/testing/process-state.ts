import { readFile } from "node:fs/promises";

/** Fields of proc(5)'s stat from the third on: state, parent. */
export async function statOf(pid: number): Promise<string[]> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => ") gone");
  return text.slice(text.lastIndexOf(")") + 2).split(" ");
}

/** By a signal, as a whole. */
export const isStopped = async (pid: number): Promise<boolean> => (await statOf(pid))[0] === "T";

export const isGone = async (pid: number): Promise<boolean> => ["gone", "Z"].includes((await statOf(pid))[0] ?? "");
