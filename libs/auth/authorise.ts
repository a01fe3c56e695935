import { StillpointError } from "#libs/errors";

/** Who asks. */
export interface Principal {
  /** Unique among principals; written into operations and logs. */
  readonly name: string;
  readonly kind: "local" | "user" | "service" | "host";
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

/** Whoever reaches our loopback ports and 0600 sockets: the only principal until there are tokens and certificates. */
export const localPrincipal: Principal = { name: "local", kind: "local" };

/**
 * Returns when the principal may do this to the resource (a resource name, or the parent's for list and create).
 * Fails with PERMISSION_DENIED, which says no more than that nothing of that name was found.
 */
export function authorise(principal: Principal, _verb: Verb, resource: string): void {
  // A service acts for what a person has made, such as a schedule; over the network nobody comes as one yet.
  if (principal.kind === "local" || principal.kind === "service") return;
  throw new StillpointError("PERMISSION_DENIED", `${resource} was not found`);
}
