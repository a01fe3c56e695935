import { StillpointError } from "#libs/errors";

/** Who asks. */
export interface Principal {
  /** Unique among principals; written into operations and logs. */
  readonly name: string;
  readonly kind: "local" | "user" | "robot" | "service" | "host" | "admin";
  /** What others than those who may do everything may do; nothing when left out. */
  readonly grants?: readonly Grant[];
}

/** Leave to do some things with some resources. */
export interface Grant {
  /** A resource's name, or with `/*` at its end whatever lies below that. */
  readonly resources: string;
  readonly verbs: readonly Verb[];
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

/** A service acts for what a person has made, such as a schedule. */
const trusted: ReadonlySet<Principal["kind"]> = new Set(["local", "service", "admin"]);

/**
 * Returns when the principal may do this to the resource (a resource name, or the parent's for list and create).
 * Fails with PERMISSION_DENIED, which says no more than that nothing of that name was found.
 */
export function authorise(principal: Principal, verb: Verb, resource: string): void {
  if (may(principal, verb, resource)) return;
  throw new StillpointError("PERMISSION_DENIED", `${resource} was not found`);
}

/** As `authorise`, for lists that show what somebody may see. */
export function may({ kind, grants = [] }: Principal, verb: Verb, resource: string): boolean {
  if (trusted.has(kind)) return true;
  return grants.some(({ resources, verbs }) => verbs.includes(verb) && covers(resources, resource));
}

function covers(resources: string, resource: string): boolean {
  return resources.endsWith("/*") ? resource.startsWith(resources.slice(0, -1)) : resource === resources;
}
