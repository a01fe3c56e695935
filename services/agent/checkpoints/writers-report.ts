import { z } from "zod";
import type { Clock } from "#libs/clock";
import { emptyGuestFile, readGuestFile } from "../guest-file.ts";
import type { GuestAgentChannel } from "../qemu/guest-agent.ts";

/** Where the freeze hook in the guest says what its writers did (deploy/guest/README.md). */
const REPORT = "/run/stillpoint/writers.json";

/** More than the dispatcher gives one writer; a guest needs a moment for each look. */
const LET_GO_MS = 8_000;
const LOOK_MS = 20;

const reportShape = z.object({
  version: z.literal(1),
  writers: z.array(z.object({ name: z.string(), state: z.string(), ms: z.number() })).max(256),
});

export type Writer = z.infer<typeof reportShape>["writers"][number];

/** Empties the report of an earlier freeze, so that what is read later is of this one. A guest without it has none. */
export async function clearReport(guest: GuestAgentChannel): Promise<void> {
  await guest.turn((call) => emptyGuestFile(call, REPORT)).catch(() => undefined);
}

/**
 * What the writers did; none when the guest has no report. The hook answers a thaw before they have let go: those that
 * have not done so in their time are still "frozen".
 */
export async function readReport(guest: GuestAgentChannel, clock: Clock): Promise<Writer[]> {
  const giveUpMs = clock.monotonicMs() + LET_GO_MS;
  for (;;) {
    const writers = await readOnce(guest);
    if (!writers.some(isHeld) || clock.monotonicMs() >= giveUpMs) return writers;
    await clock.sleep(LOOK_MS);
  }
}

async function readOnce(guest: GuestAgentChannel): Promise<Writer[]> {
  const text = await guest.turn((call) => readGuestFile(call, REPORT)).catch(() => "");
  if (text === undefined || text === "") return [];
  const report = parseReport(text);
  return report ?? [{ name: "report", state: "failed", ms: 0 }];
}

function isHeld({ state }: Writer): boolean {
  return state === "frozen";
}

/** Undefined when it is not a report: what a guest writes is not to be trusted. */
export function parseReport(text: string): Writer[] | undefined {
  try {
    return reportShape.parse(JSON.parse(text)).writers;
  } catch {
    return undefined;
  }
}

/** A writer that was held and let go, or had nothing to hold, has done its part. */
export function hasFailed({ state }: Writer): boolean {
  return state !== "thawed" && state !== "absent";
}
