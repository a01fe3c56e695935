import { type Container, ContainerState } from "#contracts/container/v1/container";
import { type Host, HostState } from "#contracts/scheduler/v1/scheduler";
import { Recovery, type Vm, VmState } from "#contracts/vm/v1/vm";
import type { Clock } from "#libs/clock";
import { isStillpointError } from "#libs/errors";
import type { Logger } from "#libs/logger";
import { ledgerName, parseOperationName } from "#libs/names";
import type { Operations } from "#libs/operations";
import type { Json, StoredRecord } from "#libs/records";
import { isUnrecovered, leasePaused } from "#libs/workloads";
import type { HostRecords } from "../hosts/host-records.ts";
import { askRecovery, isContainer, type Recoverers, unanswered } from "./ask-recovery.ts";

export interface RecoveriesDeps extends Recoverers {
  readonly records: HostRecords;
  /** A workload as it stands now, from the leader. */
  readonly readWorkload: (name: string) => Promise<StoredRecord<Json> | undefined>;
  readonly operations: Pick<Operations, "get">;
  /** True for hosts that this replica decides over. */
  readonly owns: (host: string) => boolean;
  /** True while hosts fail by the dozen: that each is known to be down goes first. */
  readonly mustWait: () => boolean;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Where the recovery of one workload stands, as far as this replica knows. */
interface Standing {
  /** Counts from 1; a part of the request id, so that an attempt that ended is not its own repetition. */
  readonly attempt: number;
  /** Nothing is asked before that monotonic time. */
  readonly notBeforeMs: number;
  /** operations/<id> that is under way. */
  readonly operation?: string;
  /** Nothing is asked any more while the host is down. */
  readonly isOver?: boolean;
  /** How often it was looked at and was none that is recovered. */
  readonly looks?: number;
}

type Verdict = "to recover" | "not now" | "none of ours";

interface Wanted {
  readonly host: StoredRecord<Host>;
  readonly workload: string;
  readonly uid: string;
}

const askedAtOnce = 16;
const firstPauseMs = 2_000;
const longestPauseMs = 60_000;
/**
 * A workload that cannot be recovered now is looked at again after so long, as its deletion may have held it; one that is
 * none that is recovered ever less often: most are such, and each look is a read from the leader.
 */
const lookAgainMs = 5_000;
/** Others wait for one of these to end, so that what people ask of the same service does not wait behind all of them. */
const underWayAtMost = 64;
/** Asking again would give the same answer. */
const final: ReadonlySet<string> = new Set([
  "RECOVERY_POINT_MISSING",
  "RECOVERY_NOT_NEEDED",
  "VM_NOT_FOUND",
  "CONTAINER_NOT_FOUND",
]);
const nothingKnown: Standing = { attempt: 1, notBeforeMs: 0 };

/**
 * Has every workload recovered, of the hosts that this replica owns, that is to be restarted and has its reservation on a host that is down. What it knows is in
 * memory only: a replica that begins anew asks again, and is given the operations that there are by their request ids.
 */
export class Recoveries {
  readonly #deps: RecoveriesDeps;
  /** By request id without the attempt. */
  readonly #known = new Map<string, Standing>();
  /** Operations that were not over at the last look. */
  #underWay = 0;

  constructor(deps: RecoveriesDeps) {
    this.#deps = deps;
  }

  /** One look at all hosts; call it each second or so. */
  async tick(): Promise<void> {
    if (this.#deps.mustWait()) return;
    const wanted = this.#wanted();
    const keys = new Set(wanted.map(keyOf));
    for (const key of this.#known.keys()) if (!keys.has(key)) this.#known.delete(key);
    this.#underWay = [...this.#known.values()].filter(({ operation }) => operation !== undefined).length;
    const worker = async () => {
      for (let next = wanted.shift(); next !== undefined; next = wanted.shift()) await this.#seeTo(next);
    };
    await Promise.all(Array.from({ length: askedAtOnce }, worker));
  }

  #wanted(): Wanted[] {
    const { records, owns } = this.#deps;
    const down = records.hosts.list().filter(({ name, body }) => body.state === HostState.DOWN && owns(name));
    return down.flatMap((host) => {
      const reservations = records.ledgers.get(ledgerName(host.name))?.body.reservations ?? [];
      return reservations.map(({ workload, uid }) => ({ workload, uid, host }));
    });
  }

  async #verdict({ workload, uid, host }: Wanted): Promise<Verdict> {
    const record = await this.#deps.readWorkload(workload);
    if (record?.uid !== uid) return "none of ours";
    const body = record.body as Known<Vm> | Known<Container>;
    if (body.host !== host.name || body.spec?.recovery !== Recovery.RESTART) return "none of ours";
    const ran = isContainer(workload) ? containerRan(body as Known<Container>) : vmRan(body as Known<Vm>);
    return ran ? "to recover" : "not now";
  }

  async #seeTo(wanted: Wanted): Promise<void> {
    const key = keyOf(wanted);
    const known = this.#known.get(key) ?? nothingKnown;
    if (known.isOver === true || this.#deps.clock.monotonicMs() < known.notBeforeMs) return;
    const next =
      known.operation === undefined ? await this.#ask(wanted, known) : await this.#look(known, known.operation);
    this.#known.set(key, next);
  }

  async #ask(wanted: Wanted, known: Standing): Promise<Standing> {
    const { clock, logger } = this.#deps;
    const { workload: name, host } = wanted;
    if (this.#underWay >= underWayAtMost) return known;
    const verdict = await this.#verdict(wanted);
    if (verdict !== "to recover") return lookedAt(known, verdict, clock.monotonicMs());
    this.#underWay++;
    const requestId = `${keyOf(wanted)}-${known.attempt}`;
    try {
      const { name: operation } = await askRecovery(this.#deps, { name, host: host.name, requestId });
      return { ...known, operation };
    } catch (err) {
      this.#underWay--;
      logger.warn({ err, workload: name, host: host.name }, "it is not recovered yet");
      if (!isStillpointError(err) || unanswered.has(err.reason)) return known;
      return this.#after(known, err.reason);
    }
  }

  /** The workload's record tells of success: it has left the host. */
  async #look(known: Standing, operation: string): Promise<Standing> {
    const found = await this.#deps.operations.get(parseOperationName(operation));
    if (found?.done === false) return known;
    return this.#after(known, found?.error?.reason ?? "");
  }

  #after({ attempt }: Standing, reason: string): Standing {
    if (final.has(reason)) return { attempt, notBeforeMs: 0, isOver: true };
    const pauseMs = Math.min(firstPauseMs * 2 ** Math.min(attempt - 1, 10), longestPauseMs);
    return { attempt: attempt + 1, notBeforeMs: this.#deps.clock.monotonicMs() + pauseMs };
  }
}

function lookedAt(known: Standing, verdict: Verdict, nowMs: number): Standing {
  const { looks = 0 } = known;
  if (verdict === "not now") return { ...known, notBeforeMs: nowMs + lookAgainMs };
  return { ...known, looks: looks + 1, notBeforeMs: nowMs + Math.min(lookAgainMs * 2 ** looks, longestPauseMs) };
}

type Known<Body extends Vm | Container> = Partial<Pick<Body, "host" | "state" | "stateReason" | "spec">>;

/** Paused by its host's guard, not by a person; or ended with its host, before that was down again. */
const vmRan = (vm: Known<Vm>): boolean =>
  vm.state === VmState.RUNNING ||
  (vm.state === VmState.PAUSED && vm.stateReason === leasePaused) ||
  (vm.state === VmState.CRASHED && isUnrecovered(vm));

/** Nobody pauses one but for a checkpoint, or for want of a lease. */
const containerRan = ({ state }: Known<Container>): boolean =>
  state === ContainerState.RUNNING || state === ContainerState.RESTARTING || state === ContainerState.PAUSED;

/** One for each time that the host went down: the version of that write. */
const keyOf = ({ host, uid }: Wanted): string => `recover-${host.name.replace("/", ".")}-${host.version}-${uid}`;
