import { JetStreamApiError } from "@nats-io/jetstream";
import { type NatsConnection, NoRespondersError } from "@nats-io/transport-node";
import { lasting, StillpointError } from "#libs/errors";

/** "insufficient resources", "insufficient storage resources available" (server/errors.json): beyond max_file_store. */
const beyondLimits = [10_023, 10_047];
/** The file system's own words, which the server passes on when it could not store a message. */
const diskIsFull = /no space left on device|disk quota exceeded/i;
/** For so long after a write was refused: whoever has work under way tries again every other second. */
const TOLD_FOR_MS = 15_000;

const refusedAtMs = new WeakMap<NatsConnection, number>();

/** Whether the server said that it has no room for more. */
export const hasNoRoom = (cause: unknown): boolean =>
  cause instanceof JetStreamApiError && (beyondLimits.includes(cause.code) || diskIsFull.test(cause.message));

/** No server took the request: there is no such stream, or nobody leads it. */
export const isNobodyThere = (cause: unknown): boolean =>
  cause instanceof NoRespondersError || (cause instanceof Error && cause.name === "JetStreamNotEnabled");

/**
 * For a write that the server has no room for; remembered for `isOutOfRoom`. A single server stays so until somebody
 * makes room. In a cluster another node may lead in a moment: the one whose disk is full leaves it.
 */
export function noRoom(nats: NatsConnection, stream: string, cause: unknown): StillpointError {
  refusedAtMs.set(nats, performance.now());
  const isAlone = nats.info?.cluster === undefined;
  return new StillpointError("UNAVAILABLE", `stream ${stream}: NATS has no room left: ${(cause as Error).message}`, {
    ...{ cause, metadata: isAlone ? lasting : {} },
    help: 'Make room on its disk, or raise its max_file_store: docs/operations.md, "A disk that is full".',
  });
}

/** A write was taken. */
export const tookWrite = (nats: NatsConnection): void => void refusedAtMs.delete(nats);

/** Whether the last write over this connection was refused for want of room, not long ago. */
export const isOutOfRoom = (nats: NatsConnection): boolean =>
  performance.now() - (refusedAtMs.get(nats) ?? Number.NEGATIVE_INFINITY) < TOLD_FOR_MS;
