import { createHash } from "node:crypto";
import { AccountRecord } from "#contracts/registry/v1/accounts";
import type { Principal } from "#libs/auth";
import { type Clock, systemRandom } from "#libs/clock";
import { isStillpointError, StillpointError } from "#libs/errors";
import { checkName } from "#libs/names";
import {
  createOnce,
  createRecordStore,
  type Log,
  type RecordEvent,
  type RecordStore,
  RecordView,
  type StoredRecord,
} from "#libs/records";
import { principalOf } from "./rights.ts";

const PREFIX = "registry/accounts/";

/** An account as each request asks for it. */
export interface StoredAccount {
  readonly record: AccountRecord;
  readonly principal: Principal;
  /** Names this very account with its present secret: tokens that hold another stamp are worth nothing. */
  readonly stamp: string;
}

/** The accounts, as records; every replica reads them from its own view. */
export class AccountStore {
  readonly #records: RecordStore<AccountRecord>;
  readonly #view: RecordView<AccountRecord>;
  readonly #read = new WeakMap<StoredRecord<AccountRecord>, StoredAccount>();

  private constructor(records: RecordStore<AccountRecord>, view: RecordView<AccountRecord>) {
    this.#records = records;
    this.#view = view;
  }

  static async open({ log, clock, signal }: { log: Log; clock: Clock; signal: AbortSignal }): Promise<AccountStore> {
    const records = createRecordStore({ log, codec: AccountRecord, clock, random: systemRandom });
    const filter = "rec.registry.accounts.*";
    const view = await RecordView.start({ log, filter, codec: AccountRecord, signal });
    return new AccountStore(records, view);
  }

  /** By the short name that people log in with; from this replica's view. */
  find(name: string): StoredAccount | undefined {
    const stored = this.#view.get(`${PREFIX}${name}`);
    if (stored === undefined) return undefined;
    const account = this.#read.get(stored) ?? readAccount(stored);
    this.#read.set(stored, account);
    return account;
  }

  async list(): Promise<AccountRecord[]> {
    await this.#view.catchUp();
    return this.#view.list(PREFIX).map(({ body }) => body);
  }

  /** From the leader. @throws StillpointError ACCOUNT_NOT_FOUND */
  async get(name: string): Promise<AccountRecord> {
    const stored = await this.#records.get(checked(name));
    if (stored === undefined) throw notFound(name);
    return stored.body;
  }

  /**
   * Repeated with the uid of one that is there, it gives that one the new secret: nobody has heard of the first.
   * @throws StillpointError ACCOUNT_EXISTS, NAME_INVALID
   */
  async create({ name, uid }: { name: string; uid: string }, record: AccountRecord): Promise<AccountRecord> {
    try {
      const events = [event("created", name)];
      const made = await createOnce(this.#records, checked(name), { uid, body: record, events });
      await this.#view.waitFor(made.version);
      const { secretHash } = record;
      if (made.body.secretHash === secretHash) return record;
      return await this.change(name, "secret_changed", ({ account }) => ({ account, secretHash }));
    } catch (error) {
      if (!isStillpointError(error, "RECORD_CONFLICT")) throw error;
      throw new StillpointError("ACCOUNT_EXISTS", `there is an account ${shortName(name)} already`, { cause: error });
    }
  }

  /** @throws StillpointError ACCOUNT_NOT_FOUND */
  async change(name: string, happened: string, change: (record: AccountRecord) => AccountRecord) {
    const events = [event(happened, name)];
    const stored = await this.#records.modify(checked(name), ({ body }) => ({ body: change(body), events }));
    if (stored === undefined) throw notFound(name);
    await this.#view.waitFor(stored.version);
    return stored.body;
  }

  /** @throws StillpointError ACCOUNT_NOT_FOUND */
  async remove(name: string, { mayBeGone }: { mayBeGone: boolean }): Promise<void> {
    const stored = await this.#records.get(checked(name));
    if (stored === undefined && mayBeGone) return;
    if (stored === undefined) throw notFound(name);
    await this.#records.remove(stored, [event("deleted", name)]);
  }
}

function readAccount({ uid, body }: StoredRecord<AccountRecord>): StoredAccount {
  const secret = createHash("sha256").update(body.secretHash).digest("base64url").slice(0, 16);
  return { record: body, principal: principalOf(body), stamp: `${uid}.${secret}` };
}

/** The name that people log in with. */
export function shortName(name: string): string {
  return name.slice(PREFIX.length);
}

function checked(name: string): string {
  if (!name.startsWith(PREFIX)) throw new StillpointError("NAME_INVALID", `${name} is not registry/accounts/<account>`);
  checkName("account", shortName(name));
  return name;
}

function event(happened: string, name: string): RecordEvent {
  return { aggregate: "account", happened, data: { name } };
}

function notFound(name: string): StillpointError {
  return new StillpointError("ACCOUNT_NOT_FOUND", `there is no account ${shortName(name)}`);
}
