import { createHash } from "node:crypto";
import type { Random } from "#libs/clock";
import type { AcceptRequest } from "./accept-request.ts";

/** The same request gives the same id: `op-` and 32 hex digits; without a request id a new one, sortable by time. */
export function operationIdOf(
  { project, principal, requestId }: Pick<AcceptRequest, "project" | "principal" | "requestId">,
  random: Random,
): string {
  if (requestId === undefined || requestId === "") return random.id("op");
  return `op-${digest(JSON.stringify([project, principal, requestId]))}`;
}

/** The id under which a request goes on whose operation was given up before anybody was told of it. */
export const idAfter = (id: string): string => `op-${digest(id)}`;

type Fingerprinted = Pick<AcceptRequest, "kind" | "target" | "fingerprint"> & Partial<Pick<AcceptRequest, "input">>;

/** Equal for requests that ask for the same. */
export function fingerprintOf({ kind, target, input, fingerprint = input }: Fingerprinted): string {
  return digest(canonicalJson({ kind, target, asked: fingerprint }));
}

function digest(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 32);
}

/** JSON with the keys of every object in order. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    isObject(inner) ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1))) : inner,
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
