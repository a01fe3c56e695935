import { isStillpointError, StillpointError } from "#libs/errors";
import { type Identity, isIdentity } from "#libs/tls";

/**
 * Where the agent of a host listens now: "127.0.0.1:7071" or "unix:/path". Asked before each try, as an agent may come
 * back elsewhere. Throws HOST_NOT_FOUND for a host that is not known.
 */
export type AddressOf = (host: string) => string | Promise<string>;

/** True when the agent did not answer, whatever became of what it was asked. */
export const isAway = (error: unknown): boolean =>
  isStillpointError(error, "UNAVAILABLE") ||
  isStillpointError(error, "HOST_UNREACHABLE") ||
  isStillpointError(error, "DEADLINE_EXCEEDED");

/** HOST_UNREACHABLE for an agent that did not answer; any other error as it is. */
export function unreachable(host: string, error: unknown): unknown {
  if (!isAway(error) || isStillpointError(error, "HOST_UNREACHABLE")) return error;
  return new StillpointError("HOST_UNREACHABLE", `the agent on ${host} does not answer`, { cause: error });
}

/** `hosts/n1` has a certificate for `host/n1`. */
export function identityOf(host: string): Identity {
  const identity = host.replace(/^hosts\//, "host/");
  if (!isIdentity(identity)) throw new StillpointError("HOST_NOT_FOUND", `there is no host ${host}`);
  return identity;
}
