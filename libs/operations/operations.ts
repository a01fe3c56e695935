import type { Operation } from "#contracts/operation/v1/operation";
import type { Clock, Random } from "#libs/clock";
import { isStillpointError, StillpointError } from "#libs/errors";
import type { Leases } from "#libs/locks";
import type { Logger } from "#libs/logger";
import { isUnanswered, type Json, type Log, rawCodec } from "#libs/records";
import type { AcceptRequest, HoldTarget, TargetWrite } from "./accept-request.ts";
import { TargetAcquirer } from "./acquire.ts";
import type { JobQueue } from "./job-queue.ts";
import type { JobState, LiveState } from "./job-state.ts";
import { newOperation } from "./new-operation.ts";
import { OperationFeed } from "./operation-feed.ts";
import { fingerprintOf, idAfter, operationIdOf } from "./operation-id.ts";
import { OperationLog } from "./operation-log.ts";
import {
  isAbandoned,
  isTerminal,
  type OperationRecord,
  type StoredOperation,
  serviceOf,
  throwRefusal,
  toOperation,
} from "./operation-record.ts";
import { cancelAsked, refused, renewed } from "./operation-state.ts";
import { OwnWorkers, type Place } from "./own-workers.ts";
import { watchOperation } from "./watch-operation.ts";

export interface OperationsDeps {
  /** Stream OPS. */
  readonly ops: Log;
  /** Stream REC: where targets are held. */
  readonly records: Log;
  readonly jobs: JobQueue;
  readonly jobState: JobState;
  readonly leases: Leases;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Pick<Logger, "info" | "warn" | "error">;
  /** Ends the follower of OPS. */
  readonly signal: AbortSignal;
  /** Only operations of these services are run or listed here; those of all when left out. Any can be watched. */
  readonly services?: readonly string[] | undefined;
}

export interface ListOptions {
  readonly unfinishedOnly?: boolean;
  readonly target?: string;
  /** At most this many, newest first; 100 if unsaid. */
  readonly limit?: number;
}

/** What tells a repeated request, known before its target is looked at. */
export type RepeatedRequest = Omit<AcceptRequest, "input" | "fingerprint" | "traceparent"> & {
  readonly fingerprint: Json;
};

const PATIENCE = { forMs: 10_000 };
const PROGRESS_EVERY_MS = 250;
/** Finished operations that are not kept here are read from the log, so many at a time. */
const READ_AT_ONCE = 50;

/** Long-running jobs: accepted here, run by the runners of the services, watched from anywhere. */
export class Operations {
  readonly deps: OperationsDeps;
  readonly log: OperationLog;
  readonly feed: OperationFeed;
  readonly targets: TargetAcquirer;
  readonly workers = new OwnWorkers();

  private constructor(deps: OperationsDeps) {
    this.deps = deps;
    this.log = new OperationLog(deps.ops, deps.clock);
    this.feed = new OperationFeed(deps.ops, deps.clock, deps.services);
    this.targets = new TargetAcquirer({ ...deps, operations: this.log });
  }

  /** Resolves when the operations that there are have been read. */
  static async start(deps: OperationsDeps): Promise<Operations> {
    const operations = new Operations(deps);
    await operations.feed.start(deps.signal);
    return operations;
  }

  /**
   * Accepts a job: when this resolves it is durable, holds its target, and will end by itself. Call it when all has
   * been checked that can be. Fails with TARGET_BUSY, with REQUEST_ID_REUSED, with `existsReason` or `missingReason`,
   * or with what `expect` throws; a repeated request id gives the operation of the first, or its refusal.
   */
  async accept<Body = Json>(request: AcceptRequest, write: TargetWrite<Body> = {}): Promise<Operation> {
    const { clock, random } = this.deps;
    const untilMs = clock.monotonicMs() + PATIENCE.forMs;
    for (let id = operationIdOf(request, random); ; id = idAfter(id)) {
      try {
        return await this.#acceptAs(id, request, write);
      } catch (error) {
        // Nobody was told of it: the request goes on under the next id, along which whoever repeats it comes, too.
        if (!isStillpointError(error, "OPERATION_ABANDONED") || clock.monotonicMs() > untilMs) throw error;
      }
    }
  }

  async #acceptAs<Body>(id: string, request: AcceptRequest, write: TargetWrite<Body>): Promise<Operation> {
    const place = this.workers.place(id, request.kind);
    try {
      return toOperation((await this.#accept(id, request, write, place)).record);
    } finally {
      place?.leave();
    }
  }

  async #accept<Body>(id: string, request: AcceptRequest, write: TargetWrite<Body>, place: Place | undefined) {
    const startMs = this.deps.clock.monotonicMs();
    const asked = newOperation(id, request, write, this.deps);
    // The write that accepts it claims it, too, where this process has a worker with room.
    const accepted = place === undefined ? asked : place.claimed(asked);
    const { stored, isNew } = await this.#create(accepted, request.requestId);
    const { record } = stored;
    throwRefusal(record);
    const isPending = record.state === "pending";
    if (isPending && request.target !== "") await this.#acquire(record, write, isNew ? startMs : undefined);
    if (isNew || (isPending && record.claim === undefined)) this.#begin(stored, place);
    return stored;
  }

  #begin(stored: StoredOperation, place: Place | undefined): void {
    const { id, kind } = stored.record;
    if (place === undefined) this.deps.jobs.hint(serviceOf(kind), id);
    else place.begin(stored);
  }

  /**
   * A step of a running job takes hold of a further record: no other operation begins on it until the job's conclusion
   * frees it (operation: null, as it frees its target) or the operation has ended. Fails with TARGET_BUSY, with
   * `missingReason`, or with what `expect` throws, as `accept` does; safe to repeat. Do it in a step of its own:
   * the epoch that the steps after it have is newer than any under which others acted on the record before.
   */
  async holdAlso<Body = Json>(operationId: string, target: string, hold: HoldTarget<Body> = {}): Promise<void> {
    const stored = await this.log.find(operationId);
    if (stored === undefined) throw notFound(operationId);
    if (!(await this.targets.acquire({ id: operationId, target }, hold))) throw gone(operationId);
    const wanted = (record: OperationRecord) => !isTerminal(record) && record.claim !== undefined;
    const write = this.deps.random.id("renew");
    await this.log.modify(operationId, { wanted, transition: renewed, write }, PATIENCE);
  }

  /**
   * The operation that an earlier call with this request id was given, whatever became of its target since; undefined
   * when there was none. Fails with REQUEST_ID_REUSED, or with the refusal of the first.
   */
  async repeated(request: RepeatedRequest): Promise<Operation | undefined> {
    const { requestId } = request;
    if (requestId === undefined || requestId === "") return undefined;
    for (let id = operationIdOf(request, this.deps.random); ; id = idAfter(id)) {
      const record = (await this.log.read(id))?.record;
      if (record === undefined) return undefined;
      if (record.fingerprint !== fingerprintOf(request)) throw reused(requestId);
      if (isAbandoned(record)) continue;
      throwRefusal(record);
      return toOperation(record);
    }
  }

  /** As it stands in the log, with its live progress; undefined when there is none. */
  async get(id: string): Promise<Operation | undefined> {
    const stored = await this.log.find(id);
    if (stored === undefined) return undefined;
    return toOperation(stored.record, isTerminal(stored.record) ? undefined : await this.#live(id));
  }

  /** Newest first; of the finished ones only the latest thousands are known. */
  async list({ unfinishedOnly = false, target, limit = 100 }: ListOptions = {}): Promise<Operation[]> {
    const known = this.feed.list({ unfinishedOnly }).filter((it) => target === undefined || it.target === target);
    const operations: Operation[] = [];
    for (let first = 0; first < Math.min(limit, known.length); first += READ_AT_ONCE) {
      const some = known.slice(first, Math.min(first + READ_AT_ONCE, limit));
      const stored = await Promise.all(some.map(async (it) => it.stored ?? (await this.log.read(it.id))));
      operations.push(...stored.filter((it) => it !== undefined).map(({ record }) => toOperation(record)));
    }
    return operations;
  }

  /** The operation each time that it or its progress changes, to its end. Fails with OPERATION_NOT_FOUND. */
  watch(id: string, signal: AbortSignal): AsyncIterable<Operation> {
    const live = () => this.#live(id);
    const { clock } = this.deps;
    return watchOperation({ id, feed: this.feed, log: this.log, live, clock, everyMs: PROGRESS_EVERY_MS }, signal);
  }

  /** Asks for its end at the next safe point; leaves one alone that has ended. Fails with OPERATION_NOT_FOUND. */
  async cancel(id: string): Promise<Operation> {
    const wanted = (record: OperationRecord) => !isTerminal(record) && record.cancelRequested !== true;
    const write = this.deps.random.id("cancel");
    const stored = await this.log.modify(id, { wanted, transition: cancelAsked, write }, PATIENCE);
    if (stored === undefined) throw notFound(id);
    if (stored.record.claim === undefined && !isTerminal(stored.record)) {
      this.deps.jobs.hint(serviceOf(stored.record.kind), id);
    }
    return toOperation(stored.record);
  }

  async #create(record: OperationRecord, requestId: string | undefined) {
    const { id } = record;
    try {
      return { stored: await this.log.create(record, PATIENCE), isNew: true };
    } catch (error) {
      if (!isStillpointError(error, "RECORD_CONFLICT")) throw error;
    }
    const stored = await this.log.read(id);
    // What a leader refused for the sake of a write that it has not finished: that may yet be lost with the leader.
    if (stored === undefined) throw new StillpointError("UNAVAILABLE", `${id} is just being accepted: ask again`);
    if (stored.record.fingerprint !== record.fingerprint) throw reused(requestId);
    return { stored, isNew: false };
  }

  async #acquire<Body>(record: OperationRecord, write: TargetWrite<Body>, madeAtMs?: number): Promise<void> {
    try {
      // A repeated request makes the target of the first, whose uid may be another.
      const create = record.acquire?.create;
      const { codec: _codec, ...rest } = write as { codec?: unknown };
      const effective = create === undefined ? write : { ...rest, codec: rawCodec, create };
      await this.targets.acquire(record, effective as TargetWrite<Body>, madeAtMs);
    } catch (error) {
      // What was not answered is tried again by a repeated request, or given up by the sweeper.
      if (!isStillpointError(error) || isUnanswered(error)) throw error;
      await this.refuse(record.id, error);
      throw error;
    }
  }

  /** Ends an operation that no worker has claimed; leaves any other alone. */
  async refuse(id: string, error: StillpointError): Promise<StoredOperation | undefined> {
    const wanted = ({ state }: OperationRecord) => state === "pending";
    const write = this.deps.random.id("refuse");
    return await this.log.modify(id, { wanted, transition: refused(error), write }, PATIENCE);
  }

  async #live(id: string): Promise<LiveState | undefined> {
    // Without Redis there is no progress to show, and nothing else is lost.
    const [live] = await this.deps.jobState.read([id]).catch(() => [undefined]);
    return live;
  }
}

const reused = (requestId = ""): StillpointError =>
  new StillpointError("REQUEST_ID_REUSED", `request id ${requestId} was used for another request`);

const gone = (id: string): StillpointError =>
  new StillpointError("EPOCH_STALE", `operations/${id} has ended, and takes hold of nothing any more`);

export const notFound = (id: string): StillpointError =>
  new StillpointError("OPERATION_NOT_FOUND", `operations/${id} was not found`);
