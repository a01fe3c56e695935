import { type Channel, type Client, createClientFactory } from "nice-grpc";
import type { CompatServiceDefinition } from "nice-grpc/lib/service-definitions/index.js";
import { deadlineMiddleware } from "nice-grpc-client-middleware-deadline";
import { errorDetailsClientMiddleware } from "nice-grpc-error-details";
import { type Identity, ownIdentity, type TlsIdentity } from "#libs/tls";
import { acquireChannel, closeChannels } from "./channels.ts";
import { namedCall } from "./named-call.ts";
import { type ResumeOptions, resumedWatch } from "./resumed-watch.ts";
import { retriedCall } from "./retried-call.ts";
import { type RpcCallOptions, watchedCall } from "./watched-call.ts";

export type { RpcCallOptions } from "./watched-call.ts";

export interface RpcClientOptions {
  /** Deadline of a unary call in milliseconds; every unary call has one. */
  readonly timeoutMs?: number;
  /** As whom it calls; the process's own identity when left out. Without one there is no TLS. */
  readonly tls?: TlsIdentity;
  /** Whom the certificate there must stand for; for the address when left out. Says nothing without TLS. */
  readonly peer?: Identity;
  /** PEM: calls as nobody, and whoever answers must be a service of this authority. Instead of `tls`. */
  readonly authority?: string;
}

/** Promises for unary calls, async iterables for streams; both fail with StillpointError. */
export type RpcClient<Definition extends CompatServiceDefinition> = Client<
  Definition,
  RpcCallOptions & ResumeOptions
> & {
  /** Gives up this client's share of the channel; calls under way still end by themselves. */
  close(): void;
};

/** How often a call is tried again, over about a second: a server that starts again, or a proxy that finds another. */
const retriesOfOne = 4;
/** As long as there is time: somebody keeps these replicas running. */
const retriesOfSeveral = 40;
/** So many replicas that are silent, or pauses of one, fit into a call. */
const attemptsInTime = 6;

/**
 * A client of a service at `host:port` or `unix:/path`, or at several replicas of it separated by commas, which are
 * asked in turn. Clients of one target share a channel, which connects at the first call. Unary calls, also mutating
 * ones, are tried again while the server is unavailable, and watches go on from their last token: a replica that dies
 * or stops costs a little time. Fails with the StillpointError that the handler threw (a reason that this version does
 * not know becomes the general one of its status, with the other in metadata.foreignReason), with UNAVAILABLE when
 * nobody answers, with DEADLINE_EXCEEDED, and with an AbortError when the caller's own signal ended it.
 */
export function createRpcClient<Definition extends CompatServiceDefinition>(
  definition: Definition,
  address: string,
  { timeoutMs = 30_000, tls = ownIdentity(), peer, authority }: RpcClientOptions = {},
): RpcClient<Definition> {
  const { channel, release } = acquireChannel({ address, tls, peer, authority });
  const retries = address.includes(",")
    ? { retries: retriesOfSeveral, attemptTimeoutMs: timeoutMs / attemptsInTime }
    : { retries: retriesOfOne };
  const client = createClientFactory()
    .use(errorDetailsClientMiddleware)
    .use(retriedCall)
    .use(deadlineMiddleware)
    .use(watchedCall({ address, timeoutMs, ...retries }))
    .use(resumedWatch)
    .use(namedCall(definition))
    .create(definition, channel as Channel, { "*": { resumptions: retries.retries } });
  return Object.assign(client, { close: release }) as RpcClient<Definition>;
}

/** Closes every channel of the process. */
export async function closeRpcClients(): Promise<void> {
  closeChannels();
}
