import { isStillpointError } from "#libs/errors";
import { eventually } from "#libs/testing";
import type { Cluster } from "../harness/cluster.ts";
import { finish } from "../harness/vm-client.ts";

/**
 * Asks as a client does that does not give up: the same request, with the same id, until some replica answers; then
 * waits until the operation has succeeded.
 */
export async function carryThrough(
  { api }: Cluster,
  ask: (requestId: string) => Promise<{ name?: string }>,
): Promise<string> {
  const requestId = crypto.randomUUID();
  const accepted = await untilAnswered(() => ask(requestId));
  const name = accepted.name ?? "";
  await finish(api.operations, name);
  return name;
}

/** Repeats a call for as long as the service is away. */
export function untilAnswered<Answer>(call: () => Promise<Answer>): Promise<Answer> {
  return eventually(
    async () => {
      try {
        return { answer: await call() };
      } catch (error) {
        if (isAway(error)) return undefined;
        return { error };
      }
    },
    { deadlineMs: 60_000 },
  ).then((result) => {
    if ("error" in result) throw result.error;
    return result.answer;
  });
}

function isAway(error: unknown): boolean {
  return (["UNAVAILABLE", "HOST_UNREACHABLE", "CANCELLED", "DEADLINE_EXCEEDED", "GUEST_AGENT_FAILED"] as const).some(
    (reason) => isStillpointError(error, reason),
  );
}
