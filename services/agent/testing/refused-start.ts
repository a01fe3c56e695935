import { isStillpointError, type Reason } from "#libs/errors";
import { eventually } from "#libs/testing";

/** A host that has its lease and its engine says something else. */
const passing: ReadonlySet<Reason> = new Set(["LEASE_EXPIRED", "ENGINE_UNAVAILABLE"] as const);

/** Why a start is refused by a host that can start, as soon as it can; undefined when it is not. */
export async function refusedStart(start: () => Promise<unknown>): Promise<Reason | undefined> {
  const { reason } = await eventually(
    async () => {
      try {
        await start();
        return { reason: undefined };
      } catch (error) {
        if (!isStillpointError(error)) throw error;
        return !passing.has(error.reason) && { reason: error.reason };
      }
    },
    { deadlineMs: 60_000 },
  );
  return reason;
}
