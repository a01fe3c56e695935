import { isStillpointError, StillpointError } from "#libs/errors";
import { failpoint } from "#libs/failpoints";
import type { SeenContainer } from "../../container-engine.ts";
import type { Container } from "../container.ts";
import type { ContainerParts } from "../container-parts.ts";
import { copyTree, dropChanged } from "./files.ts";
import { Quiesce, type QuiesceFacts, type Refusal } from "./quiesce.ts";
import { saveTree } from "./tree.ts";
import type { TakenVolume } from "./volumes.ts";

const TRIES = 5;
const AGAIN_MS = 200;

export interface PauseRequest {
  readonly checkpointUid: string;
  readonly windowMs: number;
  readonly volumes: readonly TakenVolume[];
  /** When the copies that were made while it ran were begun; milliseconds since 1970. */
  readonly since: number;
  /** The folder that its memory is written to as well; then nothing is brought to rest. */
  readonly memory?: string;
}

/** What a pause was like. */
export interface Paused {
  readonly pauseMs: number;
  readonly windowMs: number;
  readonly quiesce: QuiesceFacts | undefined;
  readonly refusal: Refusal | undefined;
  readonly timeline: readonly { readonly event: string; readonly time: string }[];
}

/**
 * A container whose application is at rest and whose processes all stand still, so that its files are those of one
 * instant. It goes on by itself when its window ends; what an agent that dies leaves paused, the next one lets go.
 */
export class PausedTake {
  readonly checkpointUid: string;
  /** The image of its writable layer; undefined before `take`, and when that failed. */
  image: string | undefined;
  readonly #parts: ContainerParts;
  readonly #container: Container;
  readonly #request: PauseRequest;
  readonly #quiesce: Quiesce | undefined;
  readonly #before: SeenContainer;
  readonly #overrun = new AbortController();
  readonly #ended = new AbortController();
  readonly #timeline: { event: string; time: string }[] = [];
  readonly #pausedAt: number;
  #refusal: Refusal | undefined;
  #ending: Promise<Paused> | undefined;

  private constructor(
    parts: ContainerParts,
    container: Container,
    request: PauseRequest,
    { quiesce, before }: { readonly quiesce: Quiesce | undefined; readonly before: SeenContainer },
  ) {
    this.checkpointUid = request.checkpointUid;
    this.#parts = parts;
    this.#container = container;
    this.#request = request;
    this.#quiesce = quiesce;
    this.#before = before;
    this.#pausedAt = parts.clock.monotonicMs();
    void parts.clock.sleep(request.windowMs, this.#ended.signal).then(
      () => this.#exceed(),
      () => undefined, // it goes on in time
    );
  }

  /** Brings it to rest and pauses it; a refusal when it does not come to rest. */
  static async begin(
    parts: ContainerParts,
    container: Container,
    request: PauseRequest,
  ): Promise<PausedTake | Refusal> {
    const { engine, clock } = parts;
    const isWhole = request.memory !== undefined;
    const quiesce = isWhole ? undefined : await Quiesce.begin(parts, container, request.windowMs);
    if (quiesce !== undefined && !(quiesce instanceof Quiesce)) return quiesce;
    const quiescedAt = clock.now();
    try {
      await saveTree(container, (tree) => ({ ...tree, pending: tree.pending && { ...tree.pending, isPaused: true } }));
      const before = await engine.find(container.uid);
      if (before?.state !== "running") throw new StillpointError("CONTAINER_STATE", "it does not run any more");
      const take = new PausedTake(parts, container, request, { quiesce, before });
      if (quiesce !== undefined) take.#note("quiesced", quiescedAt);
      await take.#pause();
      return take;
    } catch (error) {
      await quiesce?.release(request.windowMs);
      return refusalOf(error);
    }
  }

  /** The folder of its memory, where that is taken too. */
  get memory(): string | undefined {
    return this.#request.memory;
  }

  /** Whether it still stands. */
  get isHeld(): boolean {
    return this.#ending === undefined;
  }

  /** Copies what has changed since the earlier copies, and its writable layer. */
  async take(): Promise<Refusal | undefined> {
    const { engine } = this.#parts;
    const { uid } = this.#container;
    const { signal } = this.#overrun;
    const { memory } = this.#request;
    if (!this.isHeld) return this.#refusal ?? EXCEEDED;
    try {
      await failpoint("agent.container-checkpoint.paused");
      const committing = engine.commit(uid, { repository: imageRepository(uid), tag: this.checkpointUid });
      const copying = this.#request.volumes.map((volume) => copyRest(volume, this.#request.since, signal));
      // All are waited for, so that nothing is written or made after it was taken back.
      const saving = memory === undefined ? [] : [engine.saveMemory(uid, memory)];
      const [committed, ...copied] = await Promise.allSettled([committing, ...copying, ...saving]);
      const failure = [...copied, committed].find(({ status }) => status === "rejected");
      if (failure?.status === "rejected") throw failure.reason;
      signal.throwIfAborted();
      await this.#refuseInterrupted();
      this.#note("taken", this.#parts.clock.now());
      if (committed.status === "fulfilled") this.image = committed.value;
    } catch (error) {
      this.#refusal ??= this.#overrun.signal.aborted ? EXCEEDED : refusalOf(error);
    }
    return this.#refusal;
  }

  /** Lets it go on, whatever happened; more than one call gives the same answer. */
  async end(): Promise<Paused> {
    this.#ending ??= this.#letGo();
    return await this.#ending;
  }

  async #pause(): Promise<void> {
    try {
      await this.#pauseInEngine();
      this.#note("paused", this.#parts.clock.now());
    } catch (error) {
      this.#ended.abort();
      await unpause(this.#parts, this.#container);
      throw error;
    }
  }

  /** The kernel may not catch up with processes that begin others: the engine gives up then, and lets them go on. */
  async #pauseInEngine(): Promise<void> {
    const { engine, clock } = this.#parts;
    for (let tries = TRIES; ; tries--) {
      try {
        return await engine.pause(this.#container.uid);
      } catch (error) {
        if (tries <= 1 || !isStillpointError(error, "ENGINE_FAILED") || !this.isHeld) throw error;
        await clock.sleep(AGAIN_MS);
      }
    }
  }

  #exceed(): void {
    this.#refusal ??= EXCEEDED;
    this.#overrun.abort(new DOMException("the pause window is over", "AbortError"));
    void this.end().catch((error: unknown) => {
      this.#parts.logger.error({ err: error, uid: this.#container.uid }, "the container may stand still");
    });
  }

  async #letGo(): Promise<Paused> {
    const { clock } = this.#parts;
    const { windowMs } = this.#request;
    this.#ended.abort();
    await unpause(this.#parts, this.#container);
    const pauseMs = Math.round((clock.monotonicMs() - this.#pausedAt) * 10) / 10;
    this.#note("unpaused", clock.now());
    const released = await this.#quiesce?.release(windowMs);
    if (released !== undefined) this.#note("released", clock.now());
    const { refusal, ...quiesce } = released ?? { refusal: undefined };
    const late = pauseMs > windowMs ? EXCEEDED : undefined;
    return {
      ...{ pauseMs, windowMs, timeline: this.#timeline },
      quiesce: "readyMs" in quiesce ? quiesce : undefined,
      refusal: this.#refusal ?? late ?? refusal,
    };
  }

  /** Somebody let it go on, or ended it, while it was copied. */
  async #refuseInterrupted(): Promise<void> {
    const seen = await this.#parts.engine.find(this.#container.uid);
    if (seen?.state === "paused" && seen.pid === this.#before.pid) return;
    throw new StillpointError("CONTAINER_STATE", "it did not stand still until all was copied");
  }

  #note(event: string, time: Date): void {
    this.#timeline.push({ event, time: time.toISOString() });
  }
}

const EXCEEDED: Refusal = {
  reason: "pause.window_exceeded",
  detail: "it could not be copied within its pause window, and was let go on",
};

/** What the engine calls the images that a container's checkpoints are. */
export function imageRepository(uid: string): string {
  return `stillpoint/${uid}`;
}

/**
 * Lets a container go on that we paused, once the host has its lease; one that is gone or runs is left alone.
 * @throws StillpointError
 */
export async function unpause({ engine, clock }: ContainerParts, container: Container): Promise<void> {
  const { uid } = container;
  while (container.leaseHold !== undefined) await container.leaseHold.over;
  for (let tries = TRIES; ; tries--) {
    try {
      if ((await engine.find(uid))?.state === "paused") await engine.unpause(uid);
      return;
    } catch (error) {
      if (tries <= 1) throw error;
      await clock.sleep(AGAIN_MS);
    }
  }
}

async function copyRest({ files, copy }: TakenVolume, since: number, signal: AbortSignal): Promise<void> {
  await dropChanged(files, copy, since, signal);
  await copyTree(files, copy, { signal });
}

function refusalOf(error: unknown): Refusal {
  if (!isStillpointError(error)) throw error;
  const reason = error.reason === "SPACE_INSUFFICIENT" ? "space.insufficient" : "pause.failed";
  return { reason, detail: error.message };
}
