import type { Operation } from "#contracts/operation/v1/operation";
import { isStillpointError } from "#libs/errors";
import { eventually } from "#libs/testing";
import type { Api } from "../harness/api.ts";
import { expectSuccess, untilDone } from "../harness/vm-client.ts";

interface Reached {
  readonly api: Api;
}

type Ask = (requestId: string) => Promise<{ name?: string }>;

/** Asks as a client does that does not give up, and waits until the operation has succeeded. */
export async function carryThrough(cluster: Reached, ask: Ask): Promise<Operation> {
  const ended = await carryToEnd(cluster, ask);
  expectSuccess(ended);
  return ended;
}

/** The same request, with the same id, until some replica answers; then waits until the operation has ended. */
export async function carryToEnd({ api }: Reached, ask: Ask): Promise<Operation> {
  const requestId = crypto.randomUUID();
  const { name = "" } = await untilAnswered(() => ask(requestId));
  return untilAnswered(() => untilDone(api.operations, name));
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

const away = [
  "UNAVAILABLE",
  "OUTCOME_UNKNOWN",
  "HOST_UNREACHABLE",
  "CANCELLED",
  "DEADLINE_EXCEEDED",
  "GUEST_AGENT_FAILED",
] as const;

function isAway(error: unknown): boolean {
  return away.some((reason) => isStillpointError(error, reason));
}
