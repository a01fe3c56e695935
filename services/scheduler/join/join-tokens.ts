import { type CreateJoinTokenRequest, type JoinToken, JoinTokenRecord } from "#contracts/scheduler/v1/scheduler";
import type { Clock } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import type { RecordStore, RecordView } from "#libs/records";
import { durationProblems, hostProblems, labelProblems } from "#libs/spec-checks";
import { type Authority, hashOfJoinToken, newJoinToken, parseJoinToken, showJoinToken } from "#libs/tls";
import { refuseProblems } from "#libs/workloads";
import { zoneProblems } from "../hosts/nonsense.ts";

export interface JoinTokensDeps {
  readonly store: RecordStore<JoinTokenRecord>;
  readonly view: RecordView<JoinTokenRecord>;
  readonly clock: Clock;
}

const hourSeconds = 3_600;
const keptAfterMs = 24 * hourSeconds * 1_000;

/** Tokens by which machines join. Only hashes of them are kept; each is good for one key, and not for long. */
export class JoinTokens {
  readonly #deps: JoinTokensDeps;

  constructor(deps: JoinTokensDeps) {
    this.#deps = deps;
  }

  /** Makes one. Fails with ARGUMENT_INVALID, CERTIFICATE_AUTHORITY_MISSING. */
  async create(authority: Authority, request: CreateJoinTokenRequest): Promise<JoinToken> {
    const { host, zone, labels, ttl = { seconds: hourSeconds, nanos: 0 } } = request;
    refuseProblems([
      ...hostProblems("host", host),
      ...zoneProblems("zone", zone),
      ...labelProblems("labels", labels),
      ...durationProblems("ttl", ttl, { least: 60, most: 7 * 24 * hourSeconds }),
    ]);
    const token = newJoinToken(await authority.fingerprint());
    const uid = hashOfJoinToken(token);
    const name = `join-tokens/${uid}`;
    const expireTime = new Date(this.#deps.clock.now().getTime() + ttl.seconds * 1_000);
    const body = JoinTokenRecord.fromPartial({ name, host, zone, labels, expireTime });
    await this.#deps.store.create(name, { uid, body });
    return { token: showJoinToken(token), expireTime, authorityFingerprint: token.authority };
  }

  /**
   * The token behind a text, as long as it is good for that host and key: one that was used is good for the same again,
   * as an answer may get lost. Fails with JOIN_TOKEN_INVALID, whatever is wrong with it.
   */
  async look(text: string, wanted: Use): Promise<JoinTokenRecord> {
    const token = parseJoinToken(text);
    const stored = token && (await this.#deps.store.get(`join-tokens/${hashOfJoinToken(token)}`));
    if (stored === undefined || !this.#isGood(stored.body, wanted)) throw refused();
    return stored.body;
  }

  /** Uses it up, before anything is given for it. Fails with JOIN_TOKEN_INVALID when another was faster. */
  async use({ name }: JoinTokenRecord, wanted: Use): Promise<void> {
    const { host: usedFor, key: usedBy } = wanted;
    const stored = await this.#deps.store.modify(name, ({ body }) => {
      if (!this.#isGood(body, wanted)) throw refused();
      return body.usedBy === usedBy ? undefined : { body: { ...body, usedBy, usedFor } };
    });
    if (stored === undefined) throw refused();
  }

  /** Removes those that have been of no use for a day. */
  async sweep(): Promise<void> {
    const { store, view, clock } = this.#deps;
    const old = clock.now().getTime() - keptAfterMs;
    for (const { name, body } of view.list()) {
      if ((body.expireTime?.getTime() ?? 0) >= old) continue;
      const stored = await store.get(name);
      if (stored !== undefined) await store.remove(stored);
    }
  }

  #isGood({ host, expireTime, usedBy, usedFor }: JoinTokenRecord, wanted: Use): boolean {
    const isForIt = host === "" || host === wanted.host;
    const isUnused = usedBy === "" || (usedBy === wanted.key && usedFor === wanted.host);
    return isForIt && isUnused && (expireTime?.getTime() ?? 0) > this.#deps.clock.now().getTime();
  }
}

interface Use {
  /** hosts/<host> */
  readonly host: string;
  /** sha256:... of the public key. */
  readonly key: string;
}

/** Nobody learns from it what there is. */
const refused = () => new StillpointError("JOIN_TOKEN_INVALID", "the token is not good for this host, or no more");
