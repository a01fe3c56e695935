import { createHmac, randomBytes } from "node:crypto";
import { LRUCache } from "lru-cache";
import type { Clock } from "#libs/clock";
import { OciError } from "../domain/oci-error.ts";
import type { AccountStore, StoredAccount } from "./account-store.ts";
import { hashSecret, isSecret } from "./secrets.ts";

/** A name and what proves it; never logged. */
export interface Login {
  readonly name: string;
  readonly secret: string;
}

/** Counts logins that failed, by name, over all replicas. */
export interface FailedLogins {
  readonly retryAfterSeconds: number;
  areTooMany(name: string): Promise<boolean>;
  add(name: string): Promise<void>;
}

interface LoginsDeps {
  readonly accounts: Pick<AccountStore, "find">;
  readonly failures: FailedLogins;
  readonly clock: Clock;
}

const KEPT_LOGINS = 1_000;
const LANES = 2;
const MAX_SECRET_LENGTH = 256;
/** Who comes while so many wait is told to come again: a flood of wrong logins must not pile up. */
const MAX_WAITING = 64;

/** Checks names and secrets. What was right a moment ago is not hashed again, unless the account has changed. */
export class Logins {
  readonly #deps: LoginsDeps;
  readonly #cacheKey = randomBytes(32);
  readonly #known = new LRUCache<string, Promise<boolean>>({ max: KEPT_LOGINS });
  readonly #lanes: Promise<unknown>[] = Array.from({ length: LANES }, () => Promise.resolve());
  #turn = 0;
  #waiting = 0;
  #nobody: Promise<string> | undefined;

  constructor(deps: LoginsDeps) {
    this.#deps = deps;
  }

  /** @throws OciError UNAUTHORIZED, TOOMANYREQUESTS; both say nothing of whether there is such an account */
  async check(login: Login): Promise<StoredAccount> {
    const account = this.#deps.accounts.find(login.name);
    const expected = account?.record.secretHash ?? (await this.#hashOfNobody());
    const key = this.#digest(login, expected);
    if (!this.#known.has(key)) await this.#refuseTooMany(login);
    const isRight = this.#known.get(key) ?? this.#compare(key, login, expected);
    if ((await isRight) && account !== undefined && !isOver(account, this.#deps.clock.now())) return account;
    await this.#deps.failures.add(login.name);
    const headers = { "www-authenticate": 'Basic realm="stillpoint-registry"' };
    throw new OciError("UNAUTHORIZED", "the name or the password is wrong", { headers });
  }

  async #refuseTooMany({ name }: Login): Promise<void> {
    const { failures } = this.#deps;
    if (!(await failures.areTooMany(name))) return;
    throw tooMany("too many logins have failed: wait a minute", failures.retryAfterSeconds);
  }

  /** At most two hashes are made at a time: each takes 16 MiB. */
  #compare(key: string, { secret }: Login, expected: string): Promise<boolean> {
    if (this.#waiting >= MAX_WAITING) throw tooMany("too many logins at a time: try again", 1);
    const lane = this.#turn++ % LANES;
    this.#waiting += 1;
    const compared = (this.#lanes[lane] ?? Promise.resolve())
      .then(async () => secret.length <= MAX_SECRET_LENGTH && (await isSecret(secret, expected)))
      .finally(() => {
        this.#waiting -= 1;
      });
    this.#lanes[lane] = compared.catch(() => {});
    this.#known.set(key, compared);
    const forget = () => this.#known.delete(key);
    compared.then((isRight) => isRight || forget(), forget);
    return compared;
  }

  /** Names that nobody has take as long as others. */
  #hashOfNobody(): Promise<string> {
    this.#nobody ??= hashSecret(randomBytes(32).toString("hex"));
    return this.#nobody;
  }

  #digest({ name, secret }: Login, expected: string): string {
    const hmac = createHmac("sha256", this.#cacheKey);
    return hmac.update(JSON.stringify([name, secret, expected])).digest("base64");
  }
}

function tooMany(message: string, retryAfterSeconds: number): OciError {
  return new OciError("TOOMANYREQUESTS", message, { headers: { "retry-after": String(retryAfterSeconds) } });
}

/** True when the account has expired. */
export function isOver({ record }: StoredAccount, now: Date): boolean {
  const end = record.account?.expireTime;
  return end !== undefined && end <= now;
}
