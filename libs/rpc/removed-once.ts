import { isStillpointError, type Reason } from "#libs/errors";
import type { CallScope } from "./call-scope.ts";

/**
 * Removes what a call names. One that is repeated finds that it is gone where an earlier attempt, whose answer was lost
 * or which is still under way elsewhere, was faster: then it is done, and gives undefined.
 *
 * @param missing the reason by which `remove` fails when there is no such thing
 */
export async function removedOnce<Removed>(
  { previousAttempts }: Pick<CallScope, "previousAttempts">,
  missing: Reason,
  remove: () => Promise<Removed>,
): Promise<Removed | undefined> {
  try {
    return await remove();
  } catch (error) {
    if (previousAttempts > 0 && isStillpointError(error, missing)) return undefined;
    throw error;
  }
}
