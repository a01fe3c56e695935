import type { IncomingMessage } from "node:http";
import { TLSSocket } from "node:tls";
import { type Grant, identityPrincipal, type Principal } from "#libs/auth";
import { callerOf, forwardedHeader, forwardedSinceHeader, identityOf } from "#libs/tls";

/** The agents of hosts pull images and push checkpoints, and remove nothing. */
const ofHosts: readonly Grant[] = [{ resources: "repositories/*", verbs: ["get", "list", "create", "update"] }];

/** Who shows a certificate of our authority, which is proof enough; undefined for everyone else. */
export function certifiedPrincipal({ socket, headers }: IncomingMessage): Principal | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
  const caller = callerOf(socket.getPeerCertificate().subjectaltname, headers[forwardedHeader]);
  if (caller === undefined) return undefined;
  const principal = identityPrincipal(caller);
  return principal.kind === "host" ? { ...principal, grants: ofHosts } : principal;
}

/** From when the certificate of who calls is valid; an invalid time when the proxy does not say. */
export function certifiedSince({ socket, headers }: IncomingMessage): Date {
  if (!(socket instanceof TLSSocket)) return new Date(Number.NaN);
  const { subjectaltname, valid_from: since } = socket.getPeerCertificate();
  return new Date(identityOf(subjectaltname) === "svc/proxy" ? String(headers[forwardedSinceHeader]) : since);
}
