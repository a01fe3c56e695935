import { decodeRecord, type MemoryLog } from "#libs/records";
import type { SimAgent } from "./sim-agent.ts";
import type { SimClock } from "./sim-clock.ts";

interface SeenOperation {
  readonly id: string;
  readonly kind: string;
  readonly state: string;
  readonly phase: string;
  readonly step: string;
  readonly target: string;
  readonly input: { readonly failsAt: string };
  readonly cancelRequested?: boolean;
  readonly error?: { readonly reason: string };
  readonly refused?: boolean;
  readonly claim?: { readonly worker: string; readonly epoch?: number };
}

const TERMINAL = new Set(["succeeded", "failed", "cancelled", "needs_attention"]);

const REFUSALS = new Set(["TARGET_BUSY", "WORKLOAD_NOT_FOUND"]);

/** How many effects a success has, by kind. */
const STEPS: Readonly<Record<string, number>> = {
  ...{ "sim.create": 3, "sim.change": 2, "sim.remove": 1, "sim.free": 1, "sim.pair": 2 },
};

/** Every write to the logs in order, and what must be true of them (invariants I2 to I4, I8 and I10 of our fault tests). */
export class History {
  readonly violations: string[] = [];
  readonly #operations = new Map<string, SeenOperation>();
  readonly #requests = new Map<string, string>();
  readonly #pointers = new Map<string, string | undefined>();
  readonly #lines: string[] = [];
  #takeovers = 0;

  constructor(ops: MemoryLog, records: MemoryLog, clock: SimClock) {
    ops.onAppend = ({ data, sequence }) => {
      const operation = JSON.parse(new TextDecoder().decode(data)) as SeenOperation;
      this.#note(clock, `#${sequence} ${operation.id} ${describe(operation)}`);
      this.#checkOperation(operation);
    };
    records.onAppend = ({ data, sequence }) => {
      const { name, operation, deleted } = decodeRecord(data);
      this.#note(
        clock,
        `record #${sequence} ${name} ${deleted === true ? "deleted" : `held by ${operation ?? "nobody"}`}`,
      );
      this.#checkPointer(name, deleted === true ? undefined : operation);
    };
  }

  /** A client was told that its request became this operation. */
  accepted(requestId: string, name: string): void {
    const before = this.#requests.get(requestId);
    if (before !== undefined && before !== name) this.violations.push(`${requestId} became ${before} and ${name}`);
    this.#requests.set(requestId, name);
  }

  unfinished(): string[] {
    return [...this.#operations.values()].filter(({ state }) => !TERMINAL.has(state)).map(({ id }) => id);
  }

  takeovers(): number {
    return this.#takeovers;
  }

  terminalCounts(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const { state } of this.#operations.values()) counts[state] = (counts[state] ?? 0) + 1;
    return counts;
  }

  checkEnd(agent: SimAgent): void {
    for (const name of this.#requests.values()) {
      this.#checkAccepted(name.slice("operations/".length));
    }
    for (const operation of this.#operations.values()) this.#checkEffects(operation, agent);
    for (const [name, holder] of this.#pointers) {
      const isGivenUp = this.#operations.get(holder ?? "")?.refused === true;
      if (holder !== undefined && !isGivenUp) this.violations.push(`${name} is still held by ${holder}`);
    }
  }

  story(agent: SimAgent): string[] {
    return [...this.#lines, ...agent.history].sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10));
  }

  #checkOperation(operation: SeenOperation): void {
    const before = this.#operations.get(operation.id);
    if (before !== undefined && TERMINAL.has(before.state)) {
      this.violations.push(`${operation.id} changed from ${before.state} to ${describe(operation)}`);
    }
    const worker = operation.claim?.worker;
    if (before?.claim !== undefined && worker !== undefined && worker !== before.claim.worker) this.#takeovers++;
    this.#operations.set(operation.id, operation);
  }

  /** One operation at a time: a target goes from hand to hand only when the one before has ended. */
  #checkPointer(name: string, holder: string | undefined): void {
    const before = this.#pointers.get(name);
    if (before !== undefined && holder !== undefined && before !== holder && !this.#isTerminal(before)) {
      this.violations.push(`${name} went from ${before}, which runs, to ${holder}`);
    }
    if (holder !== undefined && before !== holder && this.#isTerminal(holder)) {
      this.violations.push(`${name} was given to ${holder}, which had ended`);
    }
    this.#pointers.set(name, holder);
  }

  /** Who was told that it is accepted finds it, succeeded unless something was wrong with it. */
  #checkAccepted(id: string): void {
    const operation = this.#operations.get(id);
    if (operation === undefined) return void this.violations.push(`${id} was accepted and lost`);
    const { error, input, cancelRequested } = operation;
    // A further target is held only once the job runs.
    const isRefused = operation.kind === "sim.pair" && REFUSALS.has(error?.reason ?? "");
    const isSound = input.failsAt === "" && cancelRequested !== true && !isRefused;
    if (isSound && operation.state !== "succeeded") this.violations.push(`${id} ${describe(operation)} for no reason`);
  }

  #checkEffects({ id, kind, state }: SeenOperation, agent: SimAgent): void {
    const effects = agent.effectsOf(id);
    if ((state === "failed" || state === "cancelled") && effects.length > 0) {
      this.violations.push(`${id} ${state} and left ${effects.join(", ")}`);
    }
    if (state === "succeeded" && effects.length !== STEPS[kind]) {
      this.violations.push(`${id} succeeded with ${effects.join(", ") || "nothing"}`);
    }
  }

  #isTerminal(id: string): boolean {
    return TERMINAL.has(this.#operations.get(id)?.state ?? "");
  }

  #note(clock: SimClock, line: string): void {
    this.#lines.push(`${clock.monotonicMs()} ${line}`);
  }
}

function describe({ state, phase, step, claim, target }: SeenOperation): string {
  return `${state} ${phase} ${step} ${claim?.worker ?? ""} ${target}`;
}
