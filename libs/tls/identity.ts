/** Who a certificate stands for: a service, the agent of a host, or a person who may do everything. */
export type Identity = `${"svc" | "host" | "admin"}/${string}`;

/** In certificates an identity is a URI, as SPIFFE IDs are: spiffe://stillpoint/svc/vm. */
const trustDomain = "spiffe://stillpoint/";

const name = "[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?";
const identity = new RegExp(`^(?:svc|host|admin)/${name}$`);

export const isIdentity = (text: string): text is Identity => identity.test(text);

export const identityUri = (of: Identity): string => trustDomain + of;

/**
 * The identity in a certificate's subject alternative names, as Node writes them ("DNS:vm, URI:spiffe://…"): it quotes
 * whatever could be mistaken for another name, so that those between the commas are true. Undefined when there is none.
 */
export function identityOf(subjectAltNames: string | undefined): Identity | undefined {
  for (const entry of (subjectAltNames ?? "").split(", ")) {
    if (!entry.startsWith(`URI:${trustDomain}`)) continue;
    const text = entry.slice(`URI:${trustDomain}`.length);
    if (isIdentity(text)) return text;
  }
  return undefined;
}
