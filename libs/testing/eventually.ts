import { setTimeout as sleep } from "node:timers/promises";

/**
 * Runs `check` again and again until it gives something other than undefined or false without throwing, and gives
 * that. After `deadlineMs` (5 s if unsaid) it fails with what the last run threw or gave. Between two runs it rests
 * `everyMs`, or as long as the last one took: a check that starts a process leaves half of a core to what it waits for.
 * For expectations, which give nothing, use vitest's `vi.waitFor`.
 */
export async function eventually<Result>(
  check: () => Result | Promise<Result>,
  { deadlineMs = 5_000, everyMs = 50 } = {},
): Promise<Exclude<Result, undefined | false>> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const begunMs = performance.now();
    try {
      return await attempt(check);
    } catch (error) {
      if (performance.now() > end) throw error;
    }
    await sleep(Math.max(everyMs, performance.now() - begunMs));
  }
}

async function attempt<Result>(check: () => Result | Promise<Result>): Promise<Exclude<Result, undefined | false>> {
  const result = await check();
  if (result === undefined || result === false)
    throw new Error(`the deadline passed and the check still gave ${String(result)}`);
  return result as Exclude<Result, undefined | false>;
}
