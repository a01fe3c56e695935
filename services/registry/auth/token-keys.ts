import { type CryptoKey, exportJWK, generateKeyPair, importJWK, type JWK } from "jose";
import { type TokenKey, TokenKeys } from "#contracts/registry/v1/accounts";
import { type Clock, systemRandom } from "#libs/clock";
import { isStillpointError } from "#libs/errors";
import { createRecordStore, type Log, type RecordStore, RecordView } from "#libs/records";

const NAME = "registry/token-keys";
const ALGORITHM = "ES256";
/** Other replicas know a new key by then; before, it signs nothing. */
const KNOWN_AFTER_MS = 5_000;
const KEPT_KEYS = 3;

interface LoadedKey {
  readonly id: string;
  readonly privateKey: CryptoKey;
  readonly publicKey: CryptoKey;
  /** On the monotonic clock. */
  readonly firstSeenMs: number;
}

interface TokenKeysDeps {
  readonly log: Log;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** The keys of tokens: one record, so that a token of one replica is good at all of them. */
export class TokenKeySet {
  readonly #records: RecordStore<TokenKeys>;
  readonly #view: RecordView<TokenKeys>;
  readonly #clock: Clock;
  readonly #loaded = new Map<string, Promise<LoadedKey>>();

  private constructor(records: RecordStore<TokenKeys>, view: RecordView<TokenKeys>, clock: Clock) {
    this.#records = records;
    this.#view = view;
    this.#clock = clock;
  }

  /** Opens the set; the first replica that ever comes makes the first key. */
  static async open({ log, clock, signal }: TokenKeysDeps): Promise<TokenKeySet> {
    const records = createRecordStore({ log, codec: TokenKeys, clock, random: systemRandom });
    await ensureOne(records, clock);
    const filter = "rec.registry.token-keys";
    const view = await RecordView.start({ log, filter, codec: TokenKeys, signal });
    const set = new TokenKeySet(records, view, clock);
    await Promise.all(set.#keys().map((key) => set.#load(key, -KNOWN_AFTER_MS)));
    return set;
  }

  /** The newest key that every replica knows. */
  async signing(): Promise<LoadedKey> {
    const loaded = await Promise.all(this.#keys().map((key) => this.#load(key)));
    const knownBefore = this.#clock.monotonicMs() - KNOWN_AFTER_MS;
    const key = loaded.findLast(({ firstSeenMs }) => firstSeenMs <= knownBefore) ?? loaded[0];
    if (key === undefined) throw new Error("there is no key for tokens");
    return key;
  }

  /** The public key with that id; undefined when it is none of ours. */
  async verifying(id: string | undefined): Promise<CryptoKey | undefined> {
    const key = this.#keys().find((each) => each.id === id);
    return key && (await this.#load(key)).publicKey;
  }

  /** Adds a key with a new id, once, and lets the oldest go when there are more than three. Gives the id. */
  async rotate(id: string): Promise<string> {
    const key = await makeKey(this.#clock, id);
    const stored = await this.#records.modify(NAME, ({ body }) =>
      body.keys.some((known) => known.id === id)
        ? undefined
        : { body: { keys: [...body.keys, key].slice(-KEPT_KEYS) } },
    );
    await this.#view.waitFor(stored?.version ?? 0);
    return key.id;
  }

  #keys(): readonly TokenKey[] {
    return this.#view.get(NAME)?.body.keys ?? [];
  }

  #load(key: TokenKey, firstSeenMs = this.#clock.monotonicMs()): Promise<LoadedKey> {
    const loaded = this.#loaded.get(key.id) ?? load(key, firstSeenMs);
    this.#loaded.set(key.id, loaded);
    return loaded;
  }
}

async function ensureOne(records: RecordStore<TokenKeys>, clock: Clock): Promise<void> {
  if ((await records.get(NAME)) !== undefined) return;
  const body = { keys: [await makeKey(clock)] };
  try {
    await records.create(NAME, { uid: systemRandom.id("token-keys"), body });
  } catch (error) {
    if (!isStillpointError(error, "RECORD_CONFLICT")) throw error;
  }
}

async function makeKey(clock: Clock, id = systemRandom.id("key")): Promise<TokenKey> {
  const { privateKey } = await generateKeyPair(ALGORITHM, { extractable: true });
  return { id, privateJwk: JSON.stringify(await exportJWK(privateKey)), createTime: clock.now() };
}

async function load({ id, privateJwk }: TokenKey, firstSeenMs: number): Promise<LoadedKey> {
  const jwk: JWK = JSON.parse(privateJwk);
  const { d: _secret, ...publicJwk } = jwk;
  return { id, privateKey: await imported(jwk), publicKey: await imported(publicJwk), firstSeenMs };
}

async function imported(jwk: JWK): Promise<CryptoKey> {
  const key = await importJWK(jwk, ALGORITHM);
  if (key instanceof Uint8Array) throw new Error("the token key is not one for ES256");
  return key;
}
