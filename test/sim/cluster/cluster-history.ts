import { decodeRecord, type Json, type LogMessage, type MemoryLog } from "#libs/records";
import type { SimClock } from "../sim-clock.ts";
import { LedgerChecks } from "./ledger-checks.ts";

/** A host as it truly is. */
export interface SeenHost {
  readonly name: string;
  readonly guard: {
    readonly hasLease: boolean;
    list(): string[];
    runs(uid: string): boolean;
  };
}

export interface SeenVm {
  readonly name: string;
  readonly uid: string;
  readonly host: string;
  /** The host that still has it as it was before its move. */
  readonly movedFrom: string | undefined;
  readonly state: string;
  /** The operation that holds it. */
  readonly holder: string | undefined;
}

interface SeenOperation {
  readonly id: string;
  readonly kind: string;
  readonly state: string;
  readonly target: string;
  readonly step?: string;
  readonly error?: { readonly reason: string; readonly message: string };
}

export const terminal: ReadonlySet<string> = new Set(["succeeded", "failed", "cancelled", "needs_attention"]);

/** What happened often enough to have shown something. */
export type Counted =
  | "down"
  | "suspected"
  | "membership"
  | "paused"
  | "resumed"
  | "ended"
  | "refused"
  | "created"
  | "moved"
  | "recovered";

/** All that is written to the logs and all that hosts do, in order, and what must be true of it at every moment. */
export class ClusterHistory {
  readonly violations: string[] = [];
  readonly story: string[] = [];
  readonly counts: Partial<Record<Counted, number>> = {};
  readonly hosts = new Map<string, SeenHost>();
  readonly vms = new Map<string, SeenVm>();
  readonly operations = new Map<string, SeenOperation>();
  readonly ledgers: LedgerChecks;
  /** By host's name, as its record says. */
  readonly states = new Map<string, string>();
  /** The highest epoch that each host has believed. */
  readonly #epochs = new Map<string, number>();
  /** Uids whose host has died under them. */
  readonly #lost = new Set<string>();
  readonly #clock: SimClock;

  constructor(clock: SimClock, ops: MemoryLog, records: MemoryLog) {
    this.#clock = clock;
    this.ledgers = new LedgerChecks(this);
    ops.onAppend = (message) => this.#operation(message);
    records.onAppend = (message) => this.#record(message);
  }

  note(line: string): void {
    this.story.push(`${this.#clock.monotonicMs().toFixed(0)} ${line}`);
  }

  violate(what: string): void {
    this.note(`VIOLATION ${what}`);
    this.violations.push(what);
  }

  count(what: Counted): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1;
  }

  /** A host has a lease from now on: nobody may take it for down. */
  leased(host: string): void {
    if (this.states.get(host) === "HOST_STATE_DOWN") this.violate(`${host} is given a lease while it is down`);
  }

  believed(host: string, epoch: number): void {
    const highest = this.#epochs.get(host) ?? 0;
    if (epoch < highest) this.violate(`${host} believes an owner of epoch ${epoch} after one of ${highest}`);
    this.#epochs.set(host, Math.max(highest, epoch));
  }

  refused(host: string, why: string): void {
    this.count("refused");
    this.note(`${host}: refuses an answer: ${why}`);
  }

  runs(host: string, uid: string, how: "starts" | "goes on"): void {
    if (how === "goes on") this.count("resumed");
    this.note(`${host}: ${uid} ${how}`);
    this.#lost.delete(uid);
    for (const other of this.hosts.values()) {
      if (other.name !== host && other.guard.runs(uid)) this.violate(`${uid} runs on ${host} and on ${other.name}`);
    }
  }

  rests(host: string, uid: string, why: string): void {
    if (why === "is paused") this.count("paused");
    if (why === "it is left behind") this.count("ended");
    this.note(`${host}: ${uid} rests: ${why}`);
  }

  lost(uid: string): void {
    this.#lost.add(uid);
  }

  isLost(uid: string): boolean {
    return this.#lost.has(uid);
  }

  isOver(operation: string | undefined): boolean {
    if (operation === undefined) return true;
    const found = this.operations.get(operation.replace("operations/", ""));
    return found === undefined || terminal.has(found.state);
  }

  uidOf(vm: string): string {
    return this.vms.get(vm)?.uid ?? "";
  }

  vmOf(uid: string): SeenVm | undefined {
    return [...this.vms.values()].find((vm) => vm.uid === uid);
  }

  #operation({ data }: LogMessage): void {
    const operation = JSON.parse(new TextDecoder().decode(data)) as SeenOperation;
    const { id, kind, state, error } = operation;
    const before = this.operations.get(id);
    this.#checkOperation(before, operation);
    this.operations.set(id, operation);
    if (before?.state === state && before.step === operation.step) return;
    if (kind === "vm.create" && state === "succeeded") this.count("created");
    if (kind === "vm.move" && state === "succeeded") this.count("moved");
    if (kind === "vm.recover" && state === "succeeded") this.count("recovered");
    this.note(`${id} ${kind} ${operation.target} ${state} ${operation.step ?? ""} ${error?.message ?? ""}`);
  }

  #checkOperation(before: SeenOperation | undefined, { id, kind, state, error }: SeenOperation): void {
    if (before !== undefined && terminal.has(before.state) && before.state !== state) {
      this.violate(`${id} changed from ${before.state} to ${state}`);
    }
    if (error?.reason === "INTERNAL") this.violate(`${id} ${kind} failed: ${error.message}`);
  }

  #record({ data, sequence }: LogMessage): void {
    const record = decodeRecord(data);
    const { name } = record;
    const isGone = record.deleted === true;
    const body = isGone ? {} : (record.body as Json);
    if (name.startsWith("projects/")) this.#vm(name, isGone ? undefined : record);
    else if (name.startsWith("schedulers/")) this.#member(name, body, sequence);
    else if (name.endsWith("/ledger")) this.ledgers.written(name.slice(0, -"/ledger".length), body);
    else if (/^hosts\/[^/]+$/.test(name)) this.#host(name, body, sequence);
  }

  /** Renewals change nothing. */
  #member(name: string, { renewals, address }: Json, sequence: number): void {
    if (address !== undefined && renewals !== undefined) return;
    this.count("membership");
    this.note(`${name} ${address === undefined ? "is out" : "is in"} #${sequence}`);
  }

  #host(name: string, { state, suspected }: Json, sequence: number): void {
    this.note(`${name} is ${String(state)}${suspected === true ? ", suspected" : ""} #${sequence}`);
    if (suspected === true) this.count("suspected");
    if (state === "HOST_STATE_DOWN" && this.states.get(name) !== state) {
      this.count("down");
      if (this.hosts.get(name)?.guard.hasLease === true) this.violate(`${name} is down while it has its lease`);
    }
    this.states.set(name, String(state));
  }

  #vm(name: string, record: ReturnType<typeof decodeRecord> | undefined): void {
    if (record === undefined) {
      this.vms.delete(name);
      this.note(`${name} is no more`);
      return;
    }
    const {
      host = "",
      state = "",
      movedFrom,
    } = record.body as {
      readonly host?: string;
      readonly state?: string;
      readonly movedFrom?: { readonly host: string };
    };
    this.vms.set(name, { name, uid: record.uid, host, movedFrom: movedFrom?.host, state, holder: record.operation });
    this.note(`${name} (${record.uid}) ${state} on ${host || "nothing"}, held by ${record.operation ?? "nobody"}`);
  }
}
