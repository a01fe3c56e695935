import type { Redis } from "ioredis";
import type { AccountsServiceImplementation } from "#contracts/registry/v1/accounts";
import type { Clock } from "#libs/clock";
import type { Logger } from "#libs/logger";
import type { Log } from "#libs/records";
import type { CallScope } from "#libs/rpc";
import type { Access } from "./access.ts";
import { AccountStore } from "./account-store.ts";
import { accountsHandlers } from "./handlers.ts";
import { Logins } from "./logins.ts";
import { redisFailedLogins } from "./redis-failed-logins.ts";
import { TokenAccess, type TokenAccessDeps } from "./token-access.ts";
import { type TokenEndpoint, tokenEndpoint } from "./token-endpoint.ts";
import { TokenKeySet } from "./token-keys.ts";
import { Tokens } from "./tokens.ts";

export interface OpenAuthDeps extends Pick<TokenAccessDeps, "publicUrl" | "uploadOwner"> {
  readonly log: Log;
  readonly redis: Redis;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** Who gets in, where tokens are had, and the service for accounts. */
export interface Auth {
  readonly access: Access;
  readonly tokenEndpoint: TokenEndpoint;
  readonly handlers: AccountsServiceImplementation<CallScope>;
}

/** Everything that a login needs: REGISTRY_AUTH=token. */
export async function openAuth({ redis, ...deps }: OpenAuthDeps): Promise<Auth> {
  const accounts = await AccountStore.open(deps);
  const keys = await TokenKeySet.open(deps);
  const { clock } = deps;
  const logins = new Logins({ accounts, failures: redisFailedLogins({ redis, logger: deps.logger }), clock });
  const tokens = new Tokens({ keys, clock });
  return {
    access: new TokenAccess({ ...deps, accounts, logins, tokens }),
    tokenEndpoint: tokenEndpoint({ logins, tokens, clock }),
    handlers: accountsHandlers({ accounts, keys, clock }),
  };
}
