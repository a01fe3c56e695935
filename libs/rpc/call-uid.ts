import { createHash } from "node:crypto";
import type { CallScope } from "./call-scope.ts";

/**
 * The uid of what a call makes under a name: every attempt of the call gives the same, so that a repetition finds what
 * an earlier attempt has made, and nobody else's call does.
 */
export function callUid(prefix: string, { principal, callId }: Pick<CallScope, "principal" | "callId">, name: string) {
  const digest = createHash("sha256")
    .update(JSON.stringify([principal.name, callId, name]))
    .digest("hex");
  return `${prefix}-${digest.slice(0, 32)}`;
}
