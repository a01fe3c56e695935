import type { Clock } from "#libs/clock";

/** Made once: it would take note of where it was made each time. */
const over = new Error("the wait is over");

/** True when the promise came in time. */
export async function within(clock: Pick<Clock, "sleep">, ms: number, promise: Promise<void>): Promise<boolean> {
  const ending = new AbortController();
  const late = clock.sleep(ms, ending.signal).then(
    () => false,
    () => false,
  );
  return await Promise.race([promise.then(() => true), late]).finally(() => ending.abort(over));
}
