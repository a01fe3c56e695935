/** Plain numbers; units are in the names. */
export interface BenchmarkResult {
  readonly metrics: Readonly<Record<string, number>>;
  /** What the bare thing took in the same run, by the same names where they compare. */
  readonly baseline: Readonly<Record<string, number>>;
}

export type Benchmark = () => Promise<BenchmarkResult>;

/** The value below which a share of the samples lies, from 0 to 1. */
export function quantile(samples: readonly number[], share: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  const value = sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
  if (value === undefined) throw new Error("no samples");
  return value;
}

export const median = (samples: readonly number[]) => quantile(samples, 0.5);

/** Milliseconds that a piece of work takes. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await work();
  return performance.now() - startedMs;
}
