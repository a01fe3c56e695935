import { readFile } from "node:fs/promises";

/** Fields of proc(5)'s stat from the third on: state, parent. */
export async function statOf(pid: number): Promise<string[]> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => ") gone");
  return text.slice(text.lastIndexOf(")") + 2).split(" ");
}

/** By a signal, as a whole. */
export const isStopped = async (pid: number): Promise<boolean> => (await statOf(pid))[0] === "T";

export const isGone = async (pid: number): Promise<boolean> => ["gone", "Z"].includes((await statOf(pid))[0] ?? "");

/** SIGKILL as proc(5)'s masks of pending signals have it. */
const KILL = 1n << 8n;
const SIGNALS = /^(?:SigPnd|ShdPnd):\s+([0-9a-f]+)$/gm;
/** PF_EXITING of the kernel's sched.h, in the flags of stat. */
const EXITING = 0x4;

/** It is killed and runs nothing of its own any more, or it is gone. */
export async function isEnding(pid: number): Promise<boolean> {
  const [state, , , , , , flags] = await statOf(pid);
  if (state === "gone" || state === "Z" || (Number(flags) & EXITING) !== 0) return true;
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => undefined);
  if (status === undefined) return true;
  return [...status.matchAll(SIGNALS)].some(([, mask]) => (BigInt(`0x${mask}`) & KILL) !== 0n);
}
