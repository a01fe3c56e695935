import { type Channel, type Client, createClientFactory } from "nice-grpc";
import type { CompatServiceDefinition } from "nice-grpc/lib/service-definitions/index.js";
import { deadlineMiddleware } from "nice-grpc-client-middleware-deadline";
import { retryMiddleware } from "nice-grpc-client-middleware-retry";
import { errorDetailsClientMiddleware } from "nice-grpc-error-details";
import { type Identity, ownIdentity, type TlsIdentity } from "#libs/tls";
import { acquireChannel, closeChannels } from "./channels.ts";
import { type RpcCallOptions, watchedCall } from "./watched-call.ts";

export type { RpcCallOptions } from "./watched-call.ts";

export interface RpcClientOptions {
  /** Deadline of a unary call in milliseconds; every unary call has one. */
  readonly timeoutMs?: number;
  /** As whom it calls; the process's own identity when left out. Without one there is no TLS. */
  readonly tls?: TlsIdentity;
  /** Whom the certificate there must stand for; for the address when left out. Says nothing without TLS. */
  readonly peer?: Identity;
}

/** Promises for unary calls, async iterables for streams; both fail with StillpointError. */
export type RpcClient<Definition extends CompatServiceDefinition> = Client<Definition, RpcCallOptions> & {
  /** Gives up this client's share of the channel; calls under way still end by themselves. */
  close(): void;
};

/**
 * A client of a service at `host:port` or `unix:/path`. Clients of one target share a channel, which connects at the
 * first call. Fails with the StillpointError that the handler threw (a reason that this version does not know becomes
 * the general one of its status, with the other in metadata.foreignReason), with UNAVAILABLE when nobody answers, with DEADLINE_EXCEEDED, and with an AbortError
 * when the caller's own signal ended it. Reads (Get, List) are tried again while the server is unavailable.
 */
export function createRpcClient<Definition extends CompatServiceDefinition>(
  definition: Definition,
  address: string,
  { timeoutMs = 30_000, tls = ownIdentity(), peer }: RpcClientOptions = {},
): RpcClient<Definition> {
  const { channel, release } = acquireChannel({ address, tls, peer });
  const client = createClientFactory()
    .use(errorDetailsClientMiddleware)
    .use(retryMiddleware)
    .use(deadlineMiddleware)
    .use(watchedCall(address, timeoutMs))
    .create(definition, channel as Channel);
  return Object.assign(client, { close: release }) as RpcClient<Definition>;
}

/** Closes every channel of the process. */
export async function closeRpcClients(): Promise<void> {
  closeChannels();
}
