import { isStillpointError } from "./stillpoint-error.ts";

/** Metadata of an error that stays until a person acts: to ask again, or another replica, is of no use. */
export const lasting = { untilSomebodyActs: "true" } as const;

/** Whether this metadata, also of an error that came from elsewhere, says so. */
export const tellsLasting = (metadata: Readonly<Record<string, string>> | undefined): boolean =>
  metadata?.untilSomebodyActs === lasting.untilSomebodyActs;

/** Whoever can wait waits for as long as it takes, and whoever cannot gives up at once. */
export const isLasting = (error: unknown): boolean => isStillpointError(error) && tellsLasting(error.metadata);
