import type { Identity } from "#libs/tls";
import type { Principal } from "./authorise.ts";

/** The principal that a certificate stands for. */
export function identityPrincipal(identity: Identity): Principal {
  if (identity.startsWith("svc/")) return { name: identity, kind: "service" };
  return { name: identity, kind: identity.startsWith("host/") ? "host" : "admin" };
}
