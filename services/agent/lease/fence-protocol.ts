/** What the agent and the fence guard say to each other: one JSON text a line, over the guard's socket. Types only. */

/** A process that the guard is to start and to hold. */
export interface FenceStart {
  readonly uid: string;
  readonly program: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  /** File for its stdout and stderr. */
  readonly log: string;
  readonly user: number | null;
}

/** A container that the guard is to hold: it is the engine's child, and found by its control group. */
export interface GuardContainer {
  readonly uid: string;
  /** What the engine calls it: 64 digits. */
  readonly id: string;
  /** Its engine has it paused, for a checkpoint: frozen as it may be, no guard holds it. */
  readonly isPaused: boolean;
  /** When a guard that is gone held it. */
  readonly heldAtMs?: number | undefined;
}

export type FenceOrder =
  | { readonly start: FenceStart }
  | { readonly guard: GuardContainer }
  /** A container that is gone, or was ended, is not to be looked for any more. */
  | { readonly release: string }
  /** Until when its children may run, on the clock of boot-clock.ts. Never goes back. */
  | { readonly renew: number }
  /** Pauses a child or a container now. */
  | { readonly hold: string }
  /** Lets it go on, unless the deadline has passed. */
  | { readonly resume: string };

/** A child of the guard. */
export interface FencedProcess {
  readonly uid: string;
  readonly pid: number;
  /** When it was paused, on the same clock; absent while it runs. */
  readonly heldAtMs?: number;
}

export interface FencedContainer {
  readonly uid: string;
  readonly id: string;
  readonly heldAtMs?: number;
}

export type FenceWord =
  /** The first word to an agent that connects. */
  | {
      readonly guardPid: number;
      readonly deadlineMs: number;
      readonly children: readonly FencedProcess[];
      readonly containers: readonly FencedContainer[];
    }
  /** The container is guarded; it was held before this where it had to be. Found: its control group is there. */
  | { readonly guarded: string; readonly isFound: boolean }
  /** The answer to every `renew`, and so a sign of life. */
  | { readonly renewed: number }
  | { readonly started: string; readonly pid: number }
  | { readonly failed: string; readonly why: string }
  | { readonly held: string; readonly atMs: number }
  | { readonly resumed: string }
  /** It has ended: a child, or a container that was held. */
  | { readonly exited: string };

/** What became of a child of the guard, or of a container, to the rest of the agent. */
export type FenceChange =
  | { readonly held: string; readonly atMs: number }
  | { readonly resumed: string }
  | { readonly gone: string };
