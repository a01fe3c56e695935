import type { IncomingMessage } from "node:http";
import { may, type Principal } from "#libs/auth";
import type { Clock } from "#libs/clock";
import { isRepository } from "#libs/oci";
import { OciError } from "../domain/oci-error.ts";
import { holds } from "../domain/scope.ts";
import type { Access, Wanted } from "./access.ts";
import type { AccountStore } from "./account-store.ts";
import { certifiedPrincipal } from "./certified-principal.ts";
import { challenge, readCredentials, realmOf, type TokenError } from "./challenge.ts";
import { isOver, type Logins } from "./logins.ts";
import { actionOf } from "./rights.ts";
import type { TokenClaims, Tokens } from "./tokens.ts";

export interface TokenAccessDeps {
  readonly accounts: Pick<AccountStore, "find">;
  readonly logins: Pick<Logins, "check">;
  readonly tokens: Pick<Tokens, "read">;
  readonly clock: Clock;
  /** The registry's address as clients know it, where that is not the one that they use. */
  readonly publicUrl?: string | undefined;
  /** Who began an upload; undefined when there is none. */
  uploadOwner(repository: string, id: string): Promise<string | undefined>;
}

/**
 * Lets pass whoever has a token, name and secret, or a certificate. What counts is what the account may do now, within what the
 * token is for; so a right that is taken away is gone at once.
 */
export class TokenAccess implements Access {
  readonly #deps: TokenAccessDeps;

  constructor(deps: TokenAccessDeps) {
    this.#deps = deps;
  }

  async admit(request: IncomingMessage, asked: Wanted): Promise<Principal> {
    const { mountFrom, ...rest } = asked;
    const wanted = mountFrom !== undefined && isRepository(mountFrom) ? asked : rest;
    const certified = certifiedPrincipal(request);
    if (certified !== undefined) return allowed(certified, wanted);
    const credentials = readCredentials(request);
    const challenged = (error?: TokenError) => {
      return challenge({ realm: realmOf(request, this.#deps.publicUrl), wanted, ...(error && { error }) });
    };
    if (credentials === undefined) throw challenged();
    const admitted =
      credentials.kind === "basic"
        ? await this.#byLogin(credentials.login, wanted)
        : await this.#byToken(credentials.token, wanted, challenged);
    await this.#refuseOthersUpload(admitted, wanted);
    return admitted;
  }

  async #byLogin(login: Parameters<Logins["check"]>[0], wanted: Wanted): Promise<Principal> {
    return allowed((await this.#deps.logins.check(login)).principal, wanted);
  }

  async #byToken(token: string, wanted: Wanted, challenged: (error: TokenError) => OciError): Promise<Principal> {
    const claims = await this.#deps.tokens.read(token);
    const account = claims && this.#deps.accounts.find(claims.subject);
    const isCurrent = account && account.stamp === claims.stamp && !isOver(account, this.#deps.clock.now());
    if (!isCurrent) throw challenged("invalid_token");
    const { principal } = account;
    if (!(await this.#isInTime(claims, principal, wanted))) throw challenged("invalid_token");
    allowed(principal, wanted);
    if (wanted.repository === "" || holds(claims.scopes, wanted.repository, actionOf(wanted.verb))) return principal;
    throw challenged("insufficient_scope");
  }

  /** A token that has expired meanwhile may still end the upload that its account began. */
  async #isInTime({ expireTime }: TokenClaims, { name }: Principal, { repository, uploadId }: Wanted) {
    if (expireTime > this.#deps.clock.now()) return true;
    return uploadId !== undefined && (await this.#deps.uploadOwner(repository, uploadId)) === name;
  }

  async #refuseOthersUpload({ name }: Principal, { repository, uploadId }: Wanted): Promise<void> {
    if (uploadId === undefined || (await this.#deps.uploadOwner(repository, uploadId)) === name) return;
    throw new OciError("BLOB_UPLOAD_UNKNOWN", "there is no such upload");
  }
}

/** The answer depends on rights alone, never on what is there. */
function allowed(principal: Principal, { repository, verb }: Wanted): Principal {
  if (repository === "" || may(principal, verb, `repositories/${repository}`)) return principal;
  if (actionOf(verb) === "pull") throw new OciError("NAME_UNKNOWN", "there is no such repository");
  throw new OciError("DENIED", `you may not ${actionOf(verb)} here`);
}
