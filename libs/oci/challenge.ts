/** Where and for what a registry wants a token, from its `WWW-Authenticate` (Docker's token specification). */
export interface TokenChallenge {
  readonly realm: URL;
  readonly service?: string;
  readonly scope?: string;
}

/**
 * Reads a challenge; undefined when it asks for no token, or when the login would go to another host without TLS.
 * @param registry the URL of the registry that sent it
 */
export function readChallenge(header: string, registry: URL): TokenChallenge | undefined {
  const [, fields] = /^Bearer\s+(.*)$/is.exec(header) ?? [];
  if (fields === undefined) return undefined;
  const found = new Map(
    [...fields.matchAll(/([a-z_]+)="([^"]*)"/gi)].map(([, name = "", value = ""]) => [name, value]),
  );
  const [service, scope] = [found.get("service"), found.get("scope")];
  const realm = URL.parse(found.get("realm") ?? "", registry.href);
  if (realm === null || !(realm.protocol === "https:" || realm.host === registry.host)) return undefined;
  if (realm.protocol === "http:" && registry.protocol === "https:") return undefined;
  return { realm, ...(service !== undefined && { service }), ...(scope !== undefined && { scope }) };
}

/** The request target that the token is had at. */
export function tokenPath({ realm, service, scope }: TokenChallenge): string {
  const query = new URLSearchParams(realm.search);
  if (service !== undefined) query.set("service", service);
  for (const each of scope?.split(" ") ?? []) query.append("scope", each);
  return `${realm.pathname}?${query.toString()}`;
}
