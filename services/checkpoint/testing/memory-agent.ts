import {
  type CheckpointOutcome,
  type FenceRequest,
  type HostAgentServiceImplementation,
  PushOutcome,
  type RunStepRequest,
  type Workload,
  WorkloadState,
} from "#contracts/host/v1/agent";
import { CheckpointReadiness, type CheckpointStorage } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";

type Outcome = Partial<CheckpointOutcome>;
type Answer = { readonly checkpoint?: Outcome; readonly pushed?: PushOutcome };
type StepAnswer = Answer & { readonly workload: Workload };

/** A host with one VM, whose checkpoints are a map from uid to parent. What goes wrong is set by the test. */
export class MemoryAgent {
  readonly uid: string;
  state: WorkloadState = WorkloadState.RUNNING;
  head = "";
  /** uid of a checkpoint and the state the VM is in when it is applied. */
  readonly layers = new Map<string, WorkloadState>();
  /** Every action that took effect, in order, with its step. */
  readonly effects: string[] = [];
  /** Why production is refused. */
  refuse: { reason: string; detail: string } | undefined;
  /** Why verification fails. */
  unclean: { reason: string; detail: string } | undefined;
  failStandard: StillpointError | undefined;
  /** What a push fails with. */
  failPush: StillpointError | undefined;
  /** What it answers when it is asked for that. */
  readiness: Partial<CheckpointReadiness> = {};
  generationId = "";
  /** What it tells of its checkpoints' storage. */
  storage: CheckpointStorage | undefined;
  /** What a production attempt fails with. */
  failProduction: StillpointError | undefined;
  /** What the last attempt was asked to leave out. */
  excludedDisks: readonly string[] = [];
  onState: (state: WorkloadState) => Promise<void> = async () => undefined;
  /** Runs before the answer of a step is given. */
  beforeAnswer: (step: string) => Promise<void> = async () => undefined;
  readonly #answers = new Map<string, Answer>();
  #epoch = 0;

  constructor(uid: string) {
    this.uid = uid;
  }

  implementation(): HostAgentServiceImplementation {
    return {
      fence: async (request) => this.#fence(request),
      getWorkload: async ({ uid }) => this.#workload(uid),
      listWorkloads: async () => ({ workloads: [this.#workload(this.uid)] }),
      inspectReadiness: async () => CheckpointReadiness.fromPartial(this.readiness),
      runStep: (request) => this.#updates(request),
      exec: () => silence(),
      async *listManifests() {},
      keepRecords: async () => ({ kept: false }),
    };
  }

  async *#updates(request: RunStepRequest) {
    const value = { percent: 50, message: `half of ${request.step}` };
    yield { update: { $case: "progress", value } } as const;
    const result = await this.#runStep(request);
    await this.beforeAnswer(request.step);
    yield { update: { $case: "result", value: result } } as const;
  }

  #fence({ epoch, operation }: FenceRequest) {
    if (epoch < this.#epoch) throw new StillpointError("EPOCH_STALE", `epoch ${epoch} is behind ${this.#epoch}`);
    this.#epoch = epoch;
    const keys = [...this.#answers.keys()].filter((key) => key.startsWith(`${operation} `));
    return { workload: this.#workload(this.uid), stepsDone: keys.map((key) => key.slice(operation.length + 1)) };
  }

  #workload(uid: string): Workload {
    if (uid !== this.uid) throw new StillpointError("WORKLOAD_NOT_FOUND", `there is no ${uid}`);
    return {
      uid,
      name: "projects/default/vms/web-1",
      state: this.state,
      pid: 0,
      guestAgent: undefined,
      epoch: this.#epoch,
      machineType: "",
      startTime: undefined,
      checkpoints: [...this.layers.keys()],
      head: this.head,
      storage: this.storage,
    };
  }

  async #runStep({ epoch, operation, step, action }: RunStepRequest): Promise<StepAnswer> {
    if (epoch !== this.#epoch) throw new StillpointError("EPOCH_STALE", `epoch ${epoch} is not ${this.#epoch}`);
    const key = `${operation} ${step}`;
    const answer = this.#answers.get(key) ?? (await this.#act(action, step));
    this.#answers.set(key, answer);
    return { workload: this.#workload(this.uid), ...answer };
  }

  async #act(action: RunStepRequest["action"], step: string): Promise<Answer> {
    this.effects.push(step);
    // oxlint-disable-next-line switch-exhaustiveness-check -- the rest is not part of this stand-in
    switch (action?.$case) {
      case "takeProduction":
        this.excludedDisks = action.value.excludeDisks;
        if (this.failProduction !== undefined) throw this.failProduction;
        return { checkpoint: this.#takeProduction(action.value.checkpointUid) };
      case "takeStandard":
        if (this.failStandard !== undefined) throw this.failStandard;
        return { checkpoint: this.#take(action.value.checkpointUid, this.state, { pauseMs: 12, ram: { bytes: 64 } }) };
      case "takeOffline":
        this.excludedDisks = action.value.excludeDisks;
        return { checkpoint: this.#take(action.value.checkpointUid, WorkloadState.STOPPED, {}) };
      case "pushCheckpoint":
        if (this.failPush !== undefined) throw this.failPush;
        return { pushed: PushOutcome.fromPartial({ digest: `sha256:${action.value.checkpointUid}` }) };
      case "verifyCheckpoint":
        return { checkpoint: this.#verify() };
      case "discardCheckpoint":
        this.layers.delete(action.value.checkpointUid);
        return {};
      case "removeCheckpoints":
        for (const uid of action.value.checkpointUids) this.layers.delete(uid);
        return {};
      case "checkApply":
        this.#appliedState(action.value.checkpointUid);
        return {};
      case "applyCheckpoint":
        return this.#apply(action.value.checkpointUid, action.value.generationId);
      default:
        throw new StillpointError("INTERNAL", `${action?.$case} is not part of this stand-in`);
    }
  }

  #takeProduction(checkpointUid: string): Outcome {
    if (this.refuse !== undefined) {
      return { refusedReason: this.refuse.reason, refusedDetail: this.refuse.detail, evidence: { timeline: [] } };
    }
    return this.#take(checkpointUid, WorkloadState.STOPPED, {
      freeze: { count: 2, thawCount: 2, windowMs: 140, writers: [{ name: "redis", state: "thawed", ms: 9 }] },
      timeline: [
        { event: "frozen", time: "2026-03-01T09:05:00.100Z" },
        { event: "thawed", time: "2026-03-01T09:05:00.240Z" },
      ],
    });
  }

  #take(checkpointUid: string, appliedAs: WorkloadState, evidence: Record<string, unknown>): Outcome {
    this.layers.set(checkpointUid, appliedAs);
    this.head = checkpointUid;
    const disks = [{ id: "root", included: true, bytes: 4096 }];
    return { evidence: { ...evidence, disks }, sizeBytes: 4096 };
  }

  #verify(): Outcome {
    const { reason = "", detail = "" } = this.unclean ?? {};
    const result = this.unclean === undefined ? "clean" : "unclean";
    const evidence = { verification: { method: "ext4-superblock", result } };
    return { refusedReason: reason, refusedDetail: detail, evidence };
  }

  #appliedState(checkpointUid: string): WorkloadState {
    const state = this.layers.get(checkpointUid);
    if (state === undefined) throw new StillpointError("CHECKPOINT_DAMAGED", `there are no files of ${checkpointUid}`);
    return state;
  }

  async #apply(checkpointUid: string, generationId: string): Promise<Answer> {
    const state = this.#appliedState(checkpointUid);
    this.state = state;
    this.head = checkpointUid;
    this.generationId = generationId;
    await this.onState(state);
    return {};
  }
}

/** A guest is not part of this stand-in. */
async function* silence() {
  yield { exitCode: 0 };
}
