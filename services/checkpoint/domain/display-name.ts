/** Code points that a display name may have. */
export const longestDisplayName = 99;

/**
 * The name of a checkpoint that nobody named: the workload's id and the time in UTC, to the second, such as
 * "web-1-2026-03-01T09:05:00Z"; "-2", "-3" and so on are appended while the name is taken.
 */
export function defaultDisplayName(workloadId: string, now: Date, taken: ReadonlySet<string>): string {
  const base = `${workloadId}-${now.toISOString().slice(0, 19)}Z`;
  if (!taken.has(base)) return base;
  for (let count = 2; ; count += 1) {
    const name = `${base}-${count}`;
    if (!taken.has(name)) return name;
  }
}
