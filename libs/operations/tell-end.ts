import type { Logger } from "#libs/logger";
import type { OperationRecord } from "./operation-record.ts";

/** A line for those who read logs; probes, which have no target, come by the hundred a second. */
export function tellEnd(
  logger: Pick<Logger, "info" | "warn">,
  { id, kind, target, state, error }: OperationRecord,
): void {
  if (target === "") return;
  const facts = { operationId: id, kind, target, state };
  if (error === undefined) logger.info(facts, "operation ended");
  else logger.warn({ ...facts, reason: error.reason, why: error.message }, "operation ended");
}
