import { StillpointError } from "#libs/errors";

/** Who asks. */
export interface Principal {
  /** Unique among principals; written into operations and logs. */
  readonly name: string;
  readonly kind: "local" | "user" | "service" | "host" | "admin";
}

/** What is asked for; "use" is acting with a resource without changing it, such as making a VM from an image. */
export type Verb =
  | "get"
  | "list"
  | "watch"
  | "create"
  | "update"
  | "delete"
  | "use"
  | "start"
  | "stop"
  | "exec"
  | "apply"
  | "cancel";

/** Whoever reaches our loopback ports and 0600 sockets. Beyond them callers are known by their certificates. */
export const localPrincipal: Principal = { name: "local", kind: "local" };

/** A service acts for what a person has made, such as a schedule. A host's agent asks for nothing over gRPC. */
const trusted: ReadonlySet<Principal["kind"]> = new Set(["local", "service", "admin"]);

/**
 * Returns when the principal may do this to the resource (a resource name, or the parent's for list and create).
 * Fails with PERMISSION_DENIED, which says no more than that nothing of that name was found.
 */
export function authorise(principal: Principal, _verb: Verb, resource: string): void {
  if (trusted.has(principal.kind)) return;
  throw new StillpointError("PERMISSION_DENIED", `${resource} was not found`);
}
