import type { BootClock } from "./boot-clock.ts";
import {
  type ControlGroup,
  findGroup,
  freeze,
  hasProcesses,
  isFrozen,
  isThere,
  killAll,
  thaw,
} from "./control-group.ts";
import type { FencedContainer, FenceWord, GuardContainer } from "./fence-protocol.ts";

/** A container that does not run is looked for so often, once it may not run. */
const SEARCH_MS = 1_000;

interface Guarded {
  readonly id: string;
  group: ControlGroup | undefined;
  soughtAtMs: number;
  heldAtMs: number | undefined;
  /** Somebody else had frozen it before, a pause of the engine: that outlives the hold. */
  wasFrozen: boolean;
}

export interface GuardedGroupsDeps {
  readonly clock: BootClock;
  readonly tell: (word: FenceWord) => void;
}

/**
 * The containers that the fence guard holds, by their control groups. They are no children of its, so that it looks at
 * them for as long as they are held: whoever thaws one, or starts it anew, has it frozen at the next look.
 */
export class GuardedGroups {
  readonly #deps: GuardedGroupsDeps;
  readonly #byUid = new Map<string, Guarded>();

  constructor(deps: GuardedGroupsDeps) {
    this.#deps = deps;
  }

  get size(): number {
    return this.#byUid.size;
  }

  list(): FencedContainer[] {
    return [...this.#byUid].map(([uid, { id, heldAtMs }]) => ({
      uid,
      id,
      ...(heldAtMs !== undefined && { heldAtMs }),
    }));
  }

  /** From its answer on the container is held at the deadline, which may have passed. @param beforeAnswer once it is known */
  guard({ uid, id, isPaused, heldAtMs }: GuardContainer, isOver: boolean, beforeAnswer: () => void): void {
    const known = this.#byUid.get(uid);
    const guarded = known?.id === id ? known : newlyGuarded(id, isPaused);
    this.#byUid.set(uid, guarded);
    guarded.heldAtMs ??= heldAtMs;
    const group = this.#groupOf(guarded, true);
    // An earlier guard has held it and is gone.
    const isHeld = group !== undefined && !isPaused && isFrozen(group);
    if (isOver || isHeld || guarded.heldAtMs !== undefined) this.#hold(uid, guarded, group);
    if (isHeld && known === undefined) guarded.wasFrozen = false;
    beforeAnswer();
    this.#deps.tell({ guarded: uid, isFound: group !== undefined });
  }

  release(uid: string): void {
    this.#byUid.delete(uid);
  }

  /** Asked again it answers again: whoever asks may not have heard. */
  hold(uid: string): void {
    const guarded = this.#byUid.get(uid);
    if (guarded === undefined) return;
    this.#hold(uid, guarded, this.#groupOf(guarded, true));
    if (guarded.heldAtMs !== undefined) this.#deps.tell({ held: uid, atMs: guarded.heldAtMs });
  }

  resume(uid: string): void {
    const guarded = this.#byUid.get(uid);
    if (guarded?.heldAtMs === undefined) return;
    const group = this.#groupOf(guarded, true);
    if (group !== undefined && !guarded.wasFrozen) thaw(group);
    guarded.heldAtMs = undefined;
    this.#deps.tell({ resumed: uid });
  }

  /** @param isOver the deadline has passed */
  look(isOver: boolean): void {
    for (const [uid, guarded] of this.#byUid) {
      if (!isOver && guarded.heldAtMs === undefined) continue;
      try {
        this.#hold(uid, guarded, this.#groupOf(guarded, false));
      } catch (error) {
        console.error(`fence guard: ${uid}: ${String(error)}`); // and the others are looked at
      }
    }
  }

  #hold(uid: string, guarded: Guarded, group: ControlGroup | undefined): void {
    if (group === undefined || !hasProcesses(group)) {
      if (guarded.heldAtMs !== undefined) this.#deps.tell({ exited: uid });
      guarded.heldAtMs = undefined;
      return;
    }
    const wasFrozen = isFrozen(group);
    if (!wasFrozen) stop(uid, group);
    const isNew = guarded.heldAtMs === undefined;
    guarded.wasFrozen = isNew ? wasFrozen : guarded.wasFrozen && wasFrozen;
    guarded.heldAtMs ??= this.#deps.clock();
    if (isNew) this.#deps.tell({ held: uid, atMs: guarded.heldAtMs });
  }

  #groupOf(guarded: Guarded, isUrgent: boolean): ControlGroup | undefined {
    if (guarded.group !== undefined && isThere(guarded.group)) return guarded.group;
    const nowMs = this.#deps.clock();
    if (!isUrgent && nowMs - guarded.soughtAtMs < SEARCH_MS) return undefined;
    guarded.soughtAtMs = nowMs;
    guarded.group = findGroup(guarded.id) ?? guarded.group;
    return guarded.group !== undefined && isThere(guarded.group) ? guarded.group : undefined;
  }
}

function newlyGuarded(id: string, wasFrozen: boolean): Guarded {
  return { id, group: undefined, soughtAtMs: Number.NEGATIVE_INFINITY, heldAtMs: undefined, wasFrozen };
}

/** What cannot be held must not run. */
function stop(uid: string, group: ControlGroup): void {
  try {
    freeze(group);
  } catch (error) {
    if (!isThere(group)) return;
    console.error(`fence guard: ${uid} cannot be frozen, and is killed: ${String(error)}`);
    killAll(group);
  }
}
