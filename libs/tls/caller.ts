import { type Identity, identityOf, isIdentity } from "./identity.ts";

/** Set by the proxy, which has checked the caller's certificate; from anybody else it means nothing. */
export const forwardedHeader = "x-stillpoint-client";

/** Set by the proxy too: from when the caller's certificate is valid, as openssl prints it. */
export const forwardedSinceHeader = "x-stillpoint-client-since";

const proxy: Identity = "svc/proxy";

/**
 * Who calls over a connection whose certificate, checked against our authority, has these names: itself, or for the
 * proxy whom it names in the header. Undefined for a certificate without identity, and a proxy that names nobody.
 */
export function callerOf(subjectAltNames: string | undefined, forwarded: unknown): Identity | undefined {
  const peer = identityOf(subjectAltNames);
  if (peer !== proxy) return peer;
  return typeof forwarded === "string" && isIdentity(forwarded) && forwarded !== proxy ? forwarded : undefined;
}
