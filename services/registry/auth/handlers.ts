import {
  type Account,
  AccountKind,
  type AccountRecord,
  type AccountsServiceImplementation,
  type AccountWithSecret,
  type CreateAccountRequest,
} from "#contracts/registry/v1/accounts";
import { authorise } from "#libs/auth";
import type { Clock } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import { type CallScope, callUid } from "#libs/rpc";
import type { AccountStore } from "./account-store.ts";
import { checkRights } from "./rights.ts";
import { hashSecret, makeSecret } from "./secrets.ts";
import type { TokenKeySet } from "./token-keys.ts";

export interface AccountsDeps {
  readonly accounts: AccountStore;
  readonly keys: Pick<TokenKeySet, "rotate">;
  readonly clock: Clock;
}

const MIN_SECRET_LENGTH = 12;
const MAX_SECRET_LENGTH = 256;

/** The Accounts service. Secrets are hashed here and go no further. */
export function accountsHandlers({ accounts, keys, clock }: AccountsDeps): AccountsServiceImplementation<CallScope> {
  return {
    async createAccount(request, call) {
      authorise(call.principal, "create", request.name);
      const { record, secret } = await makeAccount(request, clock);
      const { name } = request;
      return withSecret(await accounts.create({ name, uid: callUid("account", call, name) }, record), secret);
    },

    async getAccount({ name }, { principal }) {
      authorise(principal, "get", name);
      return shown(await accounts.get(name));
    },

    async listAccounts(_request, { principal }) {
      authorise(principal, "list", "registry/accounts");
      return { accounts: (await accounts.list()).map(shown) };
    },

    async setAccountRights({ name, rights }, { principal }) {
      authorise(principal, "update", name);
      checkRights(rights);
      const change = ({ account, secretHash }: AccountRecord) => ({
        account: account && { ...account, rights },
        secretHash,
      });
      return shown(await accounts.change(name, "rights_changed", change));
    },

    async setAccountSecret({ name, secret }, { principal }) {
      authorise(principal, "update", name);
      const { account } = await accounts.get(name);
      const chosen = chooseSecret(account?.kind, secret);
      const secretHash = await hashSecret(chosen);
      const record = await accounts.change(name, "secret_changed", (it) => ({ account: it.account, secretHash }));
      return withSecret(record, secret === "" ? chosen : "");
    },

    async deleteAccount({ name }, { principal, previousAttempts }) {
      authorise(principal, "delete", name);
      await accounts.remove(name, { mayBeGone: previousAttempts > 0 });
      return {};
    },

    async rotateTokenKey(_request, call) {
      authorise(call.principal, "update", "registry/token-keys");
      return { keyId: await keys.rotate(callUid("key", call, "registry/token-keys")) };
    },
  };
}

async function makeAccount({ name, kind, rights, secret, expireTime }: CreateAccountRequest, clock: Clock) {
  if (kind !== AccountKind.USER && kind !== AccountKind.ROBOT) throw invalid("kind is missing");
  checkRights(rights);
  const chosen = chooseSecret(kind, secret);
  const account: Account = { name, kind, rights, createTime: clock.now(), expireTime };
  const record: AccountRecord = { account, secretHash: await hashSecret(chosen) };
  return { record, secret: secret === "" ? chosen : "" };
}

/** The secret that was asked for, or one that is made up. @throws StillpointError ARGUMENT_INVALID */
function chooseSecret(kind: AccountKind | undefined, wanted: string): string {
  if (wanted === "") return makeSecret();
  if (kind === AccountKind.ROBOT) throw invalid("the secret of a robot is made up by the registry");
  if (wanted.length >= MIN_SECRET_LENGTH && wanted.length <= MAX_SECRET_LENGTH) return wanted;
  throw invalid(`a password has ${MIN_SECRET_LENGTH} to ${MAX_SECRET_LENGTH} characters`);
}

function withSecret(record: AccountRecord, secret: string): AccountWithSecret {
  return { account: shown(record), secret };
}

function shown({ account }: AccountRecord): Account {
  if (account === undefined) throw new Error("an account's record lacks the account");
  return account;
}

function invalid(message: string): StillpointError {
  return new StillpointError("ARGUMENT_INVALID", message);
}
