import { expect, test } from "vitest";
import type { AgentParts } from "./agent-parts.ts";
import { perform } from "./perform.ts";

test("a host that is not to have containers says so", async () => {
  const parts = { containers: undefined } as unknown as AgentParts;
  const uid = "ctr-01a2047d-106e-7476-bcac-5b9243595584";
  const context = { uid, operation: "op", epoch: 1, signal: AbortSignal.timeout(1_000), progress: () => undefined };
  const actions = [
    { $case: "startContainer", value: {} },
    { $case: "discardCheckpoint", value: { checkpointUid: "" } },
  ] as const;
  for (const action of actions) {
    await expect(perform(parts, context, action)).rejects.toMatchObject({ reason: "CAPABILITY_MISSING" });
  }
});
