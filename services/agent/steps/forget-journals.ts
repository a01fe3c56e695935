import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "#libs/clock";
import type { StepRunner } from "./step-runner.ts";

const KEPT_MS = 24 * 3_600_000;
const EVERY_MS = 3_600_000;

interface ForgetDeps {
  readonly journals: string;
  readonly steps: Pick<StepRunner, "forget">;
  readonly exists: (uid: string) => boolean;
  readonly clock: Clock;
}

/**
 * Removes the journals of workloads that are gone, a day after their last word: until then a claim that was overtaken
 * finds the fence that refuses it. Looks at once and every hour, until the signal.
 */
export async function forgetJournals(deps: ForgetDeps, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    for (const uid of await outlived(deps)) await deps.steps.forget(uid);
    await deps.clock.sleep(EVERY_MS, signal).catch(() => undefined);
  }
}

async function outlived({ journals, exists, clock }: ForgetDeps): Promise<string[]> {
  const files = await readdir(journals).catch(() => []);
  const uids: string[] = [];
  for (const file of files.filter((name) => name.endsWith(".jsonl"))) {
    const uid = file.slice(0, -".jsonl".length);
    const { mtimeMs } = await stat(join(journals, file));
    if (!exists(uid) && clock.now().getTime() - mtimeMs > KEPT_MS) uids.push(uid);
  }
  return uids;
}
