import { errors, jwtVerify, SignJWT } from "jose";
import { LRUCache } from "lru-cache";
import { z } from "zod";
import type { Clock } from "#libs/clock";
import type { Scope } from "../domain/scope.ts";
import type { StoredAccount } from "./account-store.ts";
import type { TokenKeySet } from "./token-keys.ts";

/** Issuer and audience of the registry's tokens, and the `service` of its challenges. */
export const SERVICE = "stillpoint-registry";

export const TOKEN_SECONDS = 900;
/** For how long after it a token may still end an upload that it began. */
const GRACE_SECONDS = 86_400;
const KEPT_TOKENS = 10_000;

const claims = z.object({
  sub: z.string(),
  account: z.string(),
  exp: z.number(),
  access: z.array(z.object({ type: z.string(), name: z.string(), actions: z.array(z.string()) })),
});

/** What a token says, after its signature was found to be ours. */
export interface TokenClaims {
  /** The account's short name. */
  readonly subject: string;
  /** The account's. */
  readonly stamp: string;
  readonly scopes: readonly Scope[];
  readonly expireTime: Date;
}

interface TokensDeps {
  readonly keys: Pick<TokenKeySet, "signing" | "verifying">;
  readonly clock: Clock;
}

/** Makes and reads tokens: JSON Web Tokens, ES256, in the form that Docker's token specification gives them. */
export class Tokens {
  readonly #deps: TokensDeps;
  readonly #verified = new LRUCache<string, TokenClaims>({ max: KEPT_TOKENS });

  constructor(deps: TokensDeps) {
    this.#deps = deps;
  }

  async issue(subject: string, account: StoredAccount, scopes: readonly Scope[]): Promise<string> {
    const { id, privateKey } = await this.#deps.keys.signing();
    const issued = Math.floor(this.#deps.clock.now().getTime() / 1_000);
    return await new SignJWT({ account: account.stamp, access: scopes })
      .setProtectedHeader({ alg: "ES256", typ: "JWT", kid: id })
      .setIssuer(SERVICE)
      .setAudience(SERVICE)
      .setSubject(subject)
      .setIssuedAt(issued)
      .setExpirationTime(issued + TOKEN_SECONDS)
      .sign(privateKey);
  }

  /** What a token of ours says, also for a day after it expired; undefined for everything else. */
  async read(token: string): Promise<TokenClaims | undefined> {
    const known = this.#verified.get(token);
    const read = known ?? (await this.#verify(token));
    if (read === undefined) return undefined;
    if (known === undefined) this.#verified.set(token, read);
    return read.expireTime.getTime() + GRACE_SECONDS * 1_000 > this.#deps.clock.now().getTime() ? read : undefined;
  }

  async #verify(token: string): Promise<TokenClaims | undefined> {
    const { keys, clock } = this.#deps;
    const keyOf = async ({ kid }: { kid?: string }) => {
      const key = await keys.verifying(kid);
      if (key === undefined) throw new errors.JWKSNoMatchingKey();
      return key;
    };
    try {
      const { payload } = await jwtVerify(token, keyOf, {
        algorithms: ["ES256"],
        issuer: SERVICE,
        audience: SERVICE,
        currentDate: clock.now(),
        clockTolerance: GRACE_SECONDS,
      });
      const { sub, account, access, exp } = claims.parse(payload);
      return { subject: sub, stamp: account, scopes: access, expireTime: new Date(exp * 1_000) };
    } catch (error) {
      if (error instanceof errors.JOSEError || error instanceof z.ZodError) return undefined;
      throw error;
    }
  }
}
