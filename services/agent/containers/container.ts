import { writeFile } from "node:fs/promises";
import { ContainerState, type RestartPolicy, RestartPolicy_Mode } from "#contracts/container/v1/container";
import {
  ContainerDefinition,
  ContainerStatus,
  type Workload as WorkloadMessage,
  WorkloadState,
} from "#contracts/host/v1/agent";
import { Recovery } from "#contracts/vm/v1/vm";
import type { Logger } from "#libs/logger";
import { leasePaused } from "#libs/workloads";
import { writeDurably } from "../durable-file.ts";
import type { LeaseHold } from "../lease/lease-hold.ts";
import { type LeftBehind, writeManifest } from "../manifest.ts";
import { withHash } from "../own-sum.ts";
import type { Happened, WorkloadDeps } from "../workload.ts";
import type { CheckpointTree } from "./checkpoints/tree-shape.ts";
import type { ContainerFolder } from "./container-folder.ts";
import type { HostMount } from "./isolation.ts";
import { differs, type Intent, isStart, NEVER_STARTED, reasonOf } from "./status.ts";

/** The truth about a container on this host beside what the engine holds; written before the effect that it tells. */
export interface ContainerManifest {
  readonly version: 1;
  readonly uid: string;
  readonly owner: { readonly operation: string; readonly epoch: number };
  /** What the engine calls its image; empty while none has come (with a checkpoint). */
  readonly image: string;
  readonly hasHealthCheck: boolean;
  /** Folders of the host that it mounts. */
  readonly hostMounts: readonly HostMount[];
  /** Its owner has stopped it since it was last started: it is stopped again if the engine starts it. */
  readonly isStopped: boolean;
  /** Absent before its first checkpoint. */
  readonly tree?: CheckpointTree;
  /** What the engine calls what the fence guard holds; absent before its first start under one. */
  readonly guardedId?: string;
  /** It runs elsewhere or is gone: it is never started here again. */
  readonly leftBehind?: LeftBehind;
}

/** The last word on a container, so that one that comes back says what happened meanwhile. */
export interface ToldStatus {
  readonly status: ContainerStatus;
  /** Of the engine's last event that is in it; nanoseconds since 1970. */
  readonly eventTime: number;
}

export type ContainerDeps = Pick<WorkloadDeps, "reserve" | "observe"> & { readonly logger: Logger };

const NEVER: RestartPolicy = { mode: RestartPolicy_Mode.NO, maxRetries: 0 };

/** A container that has a folder here: its definition (without secrets' values), its manifest and how it is. */
export class Container {
  readonly folder: ContainerFolder;
  readonly #deps: ContainerDeps;
  #definition: ContainerDefinition;
  #manifest: ContainerManifest;
  #told: ToldStatus;
  #saving: Promise<void> = Promise.resolve();
  /** A process of its present life was ended for want of memory. */
  ranOutOfMemory = false;
  /** It is being deleted: what happens to it is no news. */
  isLeaving = false;
  /** The step that makes it starts it, and its answer will say so. */
  isBeingMade = false;
  /** A step acts on it. */
  isActedOn = false;
  /** While the host has no lease and its processes stand still for that. */
  leaseHold: LeaseHold | undefined;

  constructor(given: {
    readonly definition: ContainerDefinition;
    readonly folder: ContainerFolder;
    readonly manifest: ContainerManifest;
    readonly told?: ToldStatus | undefined;
    readonly deps: ContainerDeps;
  }) {
    this.#definition = given.definition;
    this.folder = given.folder;
    this.#manifest = given.manifest;
    this.#told = given.told ?? { status: NEVER_STARTED, eventTime: 0 };
    this.#deps = given.deps;
  }

  get uid(): string {
    return this.#manifest.uid;
  }

  get name(): string {
    return this.#definition.name;
  }

  get definition(): ContainerDefinition {
    return this.#definition;
  }

  get manifest(): ContainerManifest {
    return this.#manifest;
  }

  get status(): ContainerStatus {
    return this.#told.status;
  }

  get eventTime(): number {
    return this.#told.eventTime;
  }

  get restart(): RestartPolicy {
    return this.#definition.spec?.restart ?? NEVER;
  }

  get intent(): Intent {
    const { isStopped, hasHealthCheck } = this.#manifest;
    return { isStopped, restart: this.restart, hasHealthCheck, isRestartedHere: this.isGuarded };
  }

  /** It must not run without the host's lease. */
  get isGuarded(): boolean {
    return this.#definition.spec?.recovery === Recovery.RESTART;
  }

  /** For a checkpoint, by its engine. */
  get isPausedByUs(): boolean {
    return this.#manifest.tree?.pending?.isPaused === true;
  }

  /** Changes the manifest, on disk first; changes take turns. */
  save(change: (manifest: ContainerManifest) => ContainerManifest): Promise<void> {
    return this.#inTurn(async () => {
      const next = change(this.#manifest);
      await this.#deps.reserve.spend(() => writeManifest(this.folder.manifest, next));
      this.#manifest = next;
    });
  }

  /** Writes down whether its owner has stopped it. */
  async noteStopped(isStopped: boolean): Promise<void> {
    if (this.#manifest.isStopped !== isStopped) await this.save((manifest) => ({ ...manifest, isStopped }));
  }

  /** Changes restart policy or recovery, on disk first. */
  savePolicy(policy: { readonly restart: RestartPolicy } | { readonly recovery: Recovery }): Promise<void> {
    return this.#inTurn(async () => {
      const { spec } = this.#definition;
      const next = { ...this.#definition, spec: spec && { ...spec, ...policy } };
      await writeDurably(this.folder.spec, withHash(ContainerDefinition.toJSON(next) as object));
      this.#definition = next;
    });
  }

  /**
   * Takes what it is now, and tells of it when that has changed, but for the start of a new one.
   * @param eventTime of the event that says so
   */
  see(seen: ContainerStatus, eventTime = this.#told.eventTime): void {
    const before = this.#told.status;
    const isHeld = this.leaseHold !== undefined && seen.state === ContainerState.RUNNING;
    const status = isHeld ? { ...seen, state: ContainerState.PAUSED } : seen;
    this.#told = { status, eventTime };
    const isAnswered = this.isBeingMade && isStart(before, status);
    const reason = this.leaseHold === undefined ? reasonOf(status) : leasePaused;
    if (differs(before, status) && !isAnswered) this.observe({ container: status, reason });
    const written = this.#inTurn(() => this.#writeTold());
    written.catch((error: unknown) => this.#deps.logger.warn({ err: error, uid: this.uid }, "its status is not kept"));
  }

  observe(happened: Happened): void {
    this.#deps.observe({ uid: this.uid, name: this.name }, happened);
  }

  describe(epoch: number): WorkloadMessage {
    return {
      uid: this.uid,
      name: this.name,
      state: WorkloadState.UNSPECIFIED,
      pid: 0,
      guestAgent: undefined,
      epoch,
      machineType: "",
      startTime: this.status.startTime,
      checkpoints: Object.keys(this.#manifest.tree?.checkpoints ?? {}),
      head: this.#manifest.tree?.head?.checkpoint ?? "",
      storage: undefined,
      container: this.status,
      leftBehind: this.#manifest.leftBehind !== undefined,
      leaseHoldTime: this.leaseHold?.since,
    };
  }

  /** Resolves when what was to be written is written. */
  async settle(): Promise<void> {
    await this.#saving;
  }

  /** Not synced: what a crash loses is seen again and told again. */
  async #writeTold(): Promise<void> {
    const { status, eventTime } = this.#told;
    await writeFile(this.folder.status, JSON.stringify({ status: ContainerStatus.toJSON(status), eventTime }), {
      mode: 0o600,
    });
  }

  #inTurn(write: () => Promise<void>): Promise<void> {
    const written = this.#saving.then(write);
    this.#saving = written.catch(() => undefined);
    return written;
  }
}
