import { createHash, randomBytes } from "node:crypto";

/** What a machine needs to join: a secret that is good once, and how it knows the control plane on first contact. */
export interface JoinToken {
  readonly secret: string;
  /** sha256:<hex> of the authority's certificate. */
  readonly authority: string;
}

const form = /^join1\.([A-Za-z0-9_-]{43})\.([0-9a-f]{64})$/;

export const newJoinToken = (authority: string): JoinToken => ({
  secret: randomBytes(32).toString("base64url"),
  authority,
});

/** As it is handed over: one word. */
export const showJoinToken = ({ secret, authority }: JoinToken): string =>
  `join1.${secret}.${authority.replace(/^sha256:/, "")}`;

/** Undefined for a text that is none. */
export function parseJoinToken(text: string): JoinToken | undefined {
  const [, secret, hex] = form.exec(text.trim()) ?? [];
  return secret === undefined || hex === undefined ? undefined : { secret, authority: `sha256:${hex}` };
}

/** What is kept of it: hex, from which nobody learns the secret. */
export const hashOfJoinToken = ({ secret }: JoinToken): string => createHash("sha256").update(secret).digest("hex");
