import type { IncomingMessage } from "node:http";
import { TLSSocket } from "node:tls";
import { OciError } from "../domain/oci-error.ts";
import { type Scope, scopeText } from "../domain/scope.ts";
import type { Wanted } from "./access.ts";
import type { Login } from "./logins.ts";
import { type Action, actionOf } from "./rights.ts";
import { SERVICE } from "./tokens.ts";

/** What an `Authorization` header holds. */
export type Credentials =
  | { readonly kind: "basic"; readonly login: Login }
  | { readonly kind: "bearer"; token: string };

/** Reads `Authorization`; undefined when there is none, or none that we know. */
export function readCredentials({ headers }: IncomingMessage): Credentials | undefined {
  const [, scheme = "", value = ""] = /^(\w+) +(\S+) *$/.exec(headers.authorization ?? "") ?? [];
  if (scheme.toLowerCase() === "bearer") return { kind: "bearer", token: value };
  if (scheme.toLowerCase() !== "basic") return undefined;
  const [, name, secret] = /^([^:]*):(.*)$/s.exec(Buffer.from(value, "base64").toString()) ?? [];
  return name === undefined || secret === undefined ? undefined : { kind: "basic", login: { name, secret } };
}

/** What a token must hold for this; clients ask for it word by word. */
export function scopesFor({ repository, verb, mountFrom }: Wanted): Scope[] {
  if (repository === "") return verb === "list" ? [{ type: "registry", name: "catalog", actions: ["*"] }] : [];
  const action = actionOf(verb);
  const actions: Action[] = action === "push" ? ["pull", "push"] : [action];
  const from = mountFrom === undefined ? [] : [{ type: "repository", name: mountFrom, actions: ["pull"] }];
  return [{ type: "repository", name: repository, actions }, ...from];
}

/** What is wrong with a token (RFC 6750, section 3.1). */
export type TokenError = "invalid_token" | "insufficient_scope";

interface ChallengeOptions {
  /** Where tokens are had. */
  readonly realm: string;
  readonly wanted: Wanted;
  readonly error?: TokenError;
}

/** 401 with all that a client needs to get a token (Docker's token specification; RFC 6750, section 3). */
export function challenge({ realm, wanted, error }: ChallengeOptions): OciError {
  const scopes = scopesFor(wanted).map(scopeText).join(" ");
  const parts = [
    `realm="${realm}"`,
    `service="${SERVICE}"`,
    ...(scopes === "" ? [] : [`scope="${scopes}"`]),
    ...(error === undefined ? [] : [`error="${error}"`]),
  ];
  const headers = { "www-authenticate": `Bearer ${parts.join(",")}` };
  return new OciError("UNAUTHORIZED", "a login is needed", { headers });
}

/** Where tokens are had: under the address that the client has used itself, unless a public one is configured. */
export function realmOf({ headers, socket }: IncomingMessage, publicUrl: string | undefined): string {
  if (publicUrl !== undefined) return new URL("/token", publicUrl).href;
  const host = /^[\w.:[\]-]+$/.exec(headers.host ?? "")?.[0] ?? "localhost";
  return `${socket instanceof TLSSocket ? "https" : "http"}://${host}/token`;
}
