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

export type FenceOrder =
  | { readonly start: FenceStart }
  /** Until when its children may run, on the clock of boot-clock.ts. Never goes back. */
  | { readonly renew: number }
  /** Pauses a child now. */
  | { readonly hold: string }
  /** Lets a child go on, unless the deadline has passed. */
  | { readonly resume: string };

/** A child of the guard. */
export interface FencedProcess {
  readonly uid: string;
  readonly pid: number;
  /** When it was paused, on the same clock; absent while it runs. */
  readonly heldAtMs?: number;
}

export type FenceWord =
  /** The first word to an agent that connects. */
  | { readonly guardPid: number; readonly deadlineMs: number; readonly children: readonly FencedProcess[] }
  /** The answer to every `renew`, and so a sign of life. */
  | { readonly renewed: number }
  | { readonly started: string; readonly pid: number }
  | { readonly failed: string; readonly why: string }
  | { readonly held: string; readonly atMs: number }
  | { readonly resumed: string }
  | { readonly exited: string };
