import { hostname } from "node:os";
import { isStillpointError } from "#libs/errors";
import { withIds, withRemoteParent } from "#libs/telemetry";
import { ActiveRuns } from "./active-runs.ts";
import { Claim, ClaimLost } from "./claim.ts";
import { ensureAcquired } from "./ensure-acquired.ts";
import type { Job } from "./job.ts";
import type { JobHint } from "./job-queue.ts";
import { isTerminal, type StoredOperation, serviceOf } from "./operation-record.ts";
import { acceptedBy } from "./operation-state.ts";
import type { Operations } from "./operations.ts";
import type { Place } from "./own-workers.ts";
import { type RetryLimits, usualLimits } from "./patience.ts";
import { runOperation } from "./run-operation.ts";
import { Sweeper } from "./sweeper.ts";
import { TargetLeases } from "./target-leases.ts";
import { tellEnd } from "./tell-end.ts";
import { WorkerRoom } from "./worker-room.ts";

export interface RunnerOptions {
  readonly jobs: readonly Job[];
  /** How many operations run at once; 32 if unsaid. */
  readonly concurrency?: number;
  /** How long a worker may be silent before another takes over; 15 s if unsaid. */
  readonly ttlMs?: number;
  /** When a transient failure becomes a failure: 20 attempts or 10 minutes if unsaid. */
  readonly retry?: RetryLimits;
  /** Names this process for people; must differ between processes. */
  readonly worker?: string;
}

export interface Runner {
  /** Takes nothing more, stops what runs at its next await, and gives it back to be taken by others. */
  close(): Promise<void>;
}

const CLOSE_WITHIN_MS = 5_000;
const UNKNOWN_KIND_AGAIN_MS = 5_000;
const FULL_AGAIN_MS = 500;
const NEVER = new AbortController().signal;

/** Starts the worker of one service: all jobs are of its kinds. */
export function startRunner(operations: Operations, options: RunnerOptions): Runner {
  const runner = new JobRunner(operations, options);
  runner.start();
  return runner;
}

/** How a worker came to an operation. */
interface Occasion {
  readonly hint?: JobHint;
  /** Set when the sweeper found it: for how long nobody has moved it on. */
  readonly silentMs?: number;
  /** Set when this process has accepted it: in which state, and when that began, by the monotonic clock. */
  readonly accepted?: { readonly stored: StoredOperation; readonly sinceMs: number };
}

class JobRunner implements Runner {
  readonly #operations: Operations;
  readonly #jobs: ReadonlyMap<string, Job>;
  readonly #service: string;
  readonly #worker: string;
  readonly #ttlMs: number;
  readonly #retry: RetryLimits;
  readonly #active: ActiveRuns;
  readonly #leases: TargetLeases;
  readonly #room: WorkerRoom;
  readonly #stop = new AbortController();
  #loops: Promise<unknown> = Promise.resolve();
  #claims = 0;

  constructor(operations: Operations, options: RunnerOptions) {
    const { clock, random, jobState, leases } = operations.deps;
    this.#operations = operations;
    this.#jobs = new Map(options.jobs.map((job) => [job.kind, job]));
    this.#service = serviceOf(options.jobs[0]?.kind ?? "none.");
    this.#worker = options.worker ?? random.id(`${hostname()}:${process.pid}`);
    this.#room = new WorkerRoom(options.concurrency ?? 32, clock);
    this.#ttlMs = options.ttlMs ?? 15_000;
    this.#retry = options.retry ?? usualLimits;
    this.#active = new ActiveRuns({ clock, jobState, worker: this.#worker, ttlMs: this.#ttlMs });
    this.#leases = new TargetLeases({ leases, clock, random, ttlMs: this.#ttlMs });
  }

  start(): void {
    this.#checkServices();
    const { clock, random, jobState } = this.#operations.deps;
    const sweeper = new Sweeper({
      ...{ clock, random, jobState, ttlMs: this.#ttlMs },
      candidates: () => this.#candidates(),
      takeOver: (stored, silentMs) => this.#takeOver(stored, silentMs),
    });
    this.#loops = Promise.all([this.#takeHints(), sweeper.run(this.#stop.signal)]);
    const forget = this.#operations.workers.add(this);
    this.#stop.signal.addEventListener("abort", forget, { once: true });
  }

  async close(): Promise<void> {
    this.#stop.abort(new ClaimLost("the worker stops"));
    for (const claim of this.#active.claims()) claim.abandon("the worker stops");
    const settled = Promise.all([this.#room.settled(), this.#loops]);
    const patience = new AbortController();
    const late = this.#operations.deps.clock.sleep(CLOSE_WITHIN_MS, patience.signal).catch(() => undefined);
    await Promise.race([settled, late]);
    patience.abort();
  }

  /** What it does not hear of it could not take over. */
  #checkServices(): void {
    const { services } = this.#operations.deps;
    const foreign = [...this.#jobs.keys()].filter((kind) => services?.includes(serviceOf(kind)) === false);
    if (foreign.length > 0) throw new Error(`${foreign.join(", ")}: this process does not follow such operations`);
  }

  place(id: string, kind: string): Place | undefined {
    const job = this.#jobs.get(kind);
    if (job === undefined || !this.#room.hasSome || this.#room.has(id)) return undefined;
    this.#room.promise(id);
    const leave = () => this.#room.release(id);
    const sinceMs = this.#operations.deps.clock.monotonicMs();
    const begin = (stored: StoredOperation) => {
      this.#begin(id, { accepted: { stored, sinceMs } });
      leave();
    };
    return { claimed: acceptedBy(job, this.#worker), begin, leave };
  }

  async #takeHints(): Promise<void> {
    const { signal } = this.#stop;
    const hints = this.#operations.deps.jobs.take(this.#service, { atMost: this.#room.size, signal });
    for await (const hint of hints) {
      const hasRoom = await this.#room.untilSome(signal);
      if (signal.aborted) return hint.again(0);
      if (hasRoom) this.#begin(hint.operationId, { hint });
      else hint.again(FULL_AGAIN_MS);
    }
  }

  #candidates(): StoredOperation[] {
    return this.#operations.feed
      .unfinished()
      .filter(({ record }) => this.#jobs.has(record.kind) && !this.#room.has(record.id));
  }

  #takeOver({ record }: StoredOperation, silentMs: number): boolean {
    if (!this.#room.hasSome) return false;
    this.#operations.deps.logger.info({ operationId: record.id, silentMs }, "taking over an operation");
    this.#begin(record.id, { silentMs });
    return true;
  }

  #begin(id: string, occasion: Occasion): void {
    if (this.#room.isInHand(id)) {
      void occasion.hint?.finish();
      return;
    }
    const work = this.#handle(id, occasion).catch((error: unknown) => {
      occasion.hint?.again(this.#ttlMs);
      if (error instanceof ClaimLost) return;
      this.#operations.deps.logger.warn({ operationId: id, err: error }, "an operation was left to the sweeper");
    });
    this.#room.take(id, work);
  }

  async #handle(id: string, { hint, silentMs, accepted }: Occasion): Promise<void> {
    const stored = accepted?.stored ?? (await this.#claimable(id, silentMs !== undefined));
    if (stored === undefined) return await hint?.finish();
    const job = this.#jobs.get(stored.record.kind);
    if (job === undefined) return hint?.again(UNKNOWN_KIND_AGAIN_MS);
    const work = async (lost: AbortSignal) => {
      const isClaimed = accepted?.stored.record.claim !== undefined;
      const claim = isClaimed ? await this.#claimed(accepted) : await this.#claim(stored, job);
      if (claim !== undefined) await this.#run(claim, job, { lost, hint });
    };
    // Nobody else was told of what is begun where it was accepted: there is no race to be kept from.
    if (accepted !== undefined) await work(NEVER);
    else await this.#leases.during(stored.record, silentMs ?? 0, this.#stop.signal, work);
    await hint?.finish();
  }

  /** The operation if it is there to be claimed: not ended, and nobody's unless it was found silent. */
  async #claimable(id: string, silent: boolean): Promise<StoredOperation | undefined> {
    const known = this.#operations.feed.get(id);
    const stored = known ?? (await this.#operations.log.read(id));
    if (stored === undefined || isTerminal(stored.record)) return undefined;
    // The hint of a cancel may come before the target is held; every other hint comes after.
    const isSure = !silent && stored.record.cancelRequested !== true;
    if (isSure) return stored.record.claim === undefined ? stored : undefined;
    if (!silent && stored.record.claim !== undefined) return undefined;
    return await ensureAcquired(this.#operations, stored);
  }

  /** Of what was claimed by the write that accepted it; others may have given it up while it took its target. */
  async #claimed({ stored, sinceMs }: NonNullable<Occasion["accepted"]>): Promise<Claim> {
    const { log, deps } = this.#operations;
    const claim = Claim.of(log, this.#worker, stored);
    if (deps.clock.monotonicMs() - sinceMs > this.#ttlMs / 3) await claim.check();
    return claim;
  }

  /** Undefined when somebody else was faster. */
  async #claim(stored: StoredOperation, job: Job): Promise<Claim | undefined> {
    const [{ log }, { signal }] = [this.#operations, this.#stop];
    try {
      return await Claim.make(log, { stored, job, worker: this.#worker, turn: ++this.#claims, signal });
    } catch (error) {
      if (!isStillpointError(error, "RECORD_CONFLICT")) throw error;
    }
    const newest = await log.read(stored.record.id);
    const free = newest !== undefined && !isTerminal(newest.record) && newest.record.claim === undefined;
    return free ? await this.#claim(newest, job) : undefined;
  }

  async #run(claim: Claim, job: Job, { lost, hint }: { lost: AbortSignal; hint: JobHint | undefined }): Promise<void> {
    const { clock, random } = this.#operations.deps;
    const { feed } = this.#operations;
    const unsubscribe = feed.subscribe(claim.id, (seen) => claim.notice(seen));
    const known = feed.get(claim.id);
    if (known !== undefined) claim.notice(known);
    // Without its lease a worker goes on by its claim alone: the log says whether that is still good.
    const check = () => void claim.check();
    lost.addEventListener("abort", check, { once: true });
    this.#active.add(claim, hint);
    const deps = {
      ...{ clock, random, retry: this.#retry },
      progress: (update: Parameters<ActiveRuns["progress"]>[1]) => this.#active.progress(claim, update),
    };
    try {
      if (this.#stop.signal.aborted) claim.abandon("the worker stops");
      claim.signal.throwIfAborted();
      const work = () => runOperation(claim, job, deps);
      await withIds({ operationId: claim.id }, () => withRemoteParent(claim.record.traceparent, job.kind, work));
      tellEnd(this.#operations.deps.logger, claim.record);
    } finally {
      this.#active.remove(claim);
      unsubscribe();
      lost.removeEventListener("abort", check);
      if (this.#stop.signal.aborted) await this.#giveBack(claim);
    }
  }

  async #giveBack(claim: Claim): Promise<void> {
    try {
      await claim.giveBack(1_000);
      if (!isTerminal(claim.record)) this.#operations.deps.jobs.hint(this.#service, claim.id);
    } catch {
      // Somebody else has it, or the log is away: the sweeper of another worker takes it.
    }
  }
}
