import { setTimeout as sleep } from "node:timers/promises";

/**
 * Runs `check` again and again until it neither throws nor gives false, and gives its result. After `deadlineMs`
 * (5 s if unsaid) it fails with what the last run threw, or with "still false".
 */
export async function eventually<Result>(
  check: () => Result | Promise<Result>,
  { deadlineMs = 5_000, everyMs = 20 } = {},
): Promise<Result> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    try {
      const result = await check();
      if (result !== false) return result;
      if (performance.now() > end) throw new Error(`still false after ${deadlineMs} ms`);
    } catch (error) {
      if (performance.now() > end) throw error;
    }
    await sleep(everyMs);
  }
}
