/** How a container ended. */
export interface Exit {
  /** 128 and the signal's number when a signal ended it. */
  readonly exitCode: number;
  readonly outOfMemory: boolean;
  /** The engine's words where it could not be started at all, its own last ones where it ended at once; else empty. */
  readonly error: string;
  readonly time?: Date | undefined;
}

/** What is known of a container at one moment. States and health are the API's words. */
export interface Status {
  readonly state: string;
  readonly lastExit?: Exit | undefined;
  readonly restarts: number;
  readonly health: string;
  readonly startTime?: Date | undefined;
}

export interface Happening {
  /** As the event is called. */
  readonly happened: string;
  readonly data: Readonly<Record<string, unknown>>;
  /** By the clock of its host; absent where that is not known. */
  readonly time?: Date | undefined;
}

/** What has happened between two looks at a container, in its order; nothing when it is as it was. */
export function happenings(before: Status, after: Status): Happening[] {
  const started = startOf(before, after);
  const ended = endOf(before, after);
  const endedFirst = millis(after.lastExit?.time) <= millis(after.startTime);
  return [
    ...(endedFirst ? [...ended, ...started] : [...started, ...ended]),
    ...held(before, after, started.length > 0),
    ...lost(before, after),
    ...healthChange(before, after),
  ];
}

/** Why it is in a state that nobody asked for; empty where it is as it should be. */
export function reasonOf({ state, lastExit }: Status): string {
  switch (state) {
    case "CONTAINER_STATE_EXITED":
      return describeExit(lastExit);
    case "CONTAINER_STATE_RESTARTING":
      return `${describeExit(lastExit)}; it is started again`;
    case "CONTAINER_STATE_FAILED":
      return "the container engine does not have it any more";
    default:
      return "";
  }
}

/** "exited with 3", "exited with 3: no such file", "killed: out of memory", "ended by SIGTERM (143)". */
export function describeExit(exit: Exit | undefined): string {
  if (exit === undefined) return "ended";
  const { exitCode, outOfMemory, error } = exit;
  if (outOfMemory) return "killed: out of memory";
  const signal = signalOf(exitCode);
  const words = signal === undefined ? `exited with ${exitCode}` : `ended by ${signal} (${exitCode})`;
  return error === "" ? words : `${words}: ${error}`;
}

function startOf(before: Status, after: Status): Happening[] {
  const { restarts } = after;
  const time = after.startTime;
  if (restarts > before.restarts) return [{ happened: "restarted", data: { restarts }, time }];
  if (millis(after.startTime) <= millis(before.startTime)) return [];
  // Of one life, the agent only knows its beginning better by now.
  return isLive(before) && isSameLife(before, after) ? [] : [{ happened: "started", data: {}, time }];
}

/** It went on all the time, or has ended once since. */
function isSameLife(before: Status, after: Status): boolean {
  if (!hasEnded(before, after)) return isLive(after);
  const laterMs = millis(after.startTime) - millis(before.startTime);
  return laterMs < sameStartMs && millis(after.lastExit?.time) > millis(after.startTime);
}

function endOf(before: Status, after: Status): Happening[] {
  const { state, lastExit } = after;
  const isNew = hasEnded(before, after);
  const time = lastExit?.time;
  if (state === "CONTAINER_STATE_STOPPED") {
    const wasAsked = before.state !== state && before.state !== "CONTAINER_STATE_CREATING";
    if (!wasAsked) return [];
    return [isNew ? { happened: "stopped", data: exitData(lastExit), time } : { happened: "stopped", data: {} }];
  }
  if (!isNew) return [];
  const willRestart = state === "CONTAINER_STATE_RESTARTING";
  return [{ happened: "exited", data: { ...exitData(lastExit), willRestart }, time }];
}

/** Two looks at one end may differ by a moment: by the engine's event, and by what it keeps of the container. */
const sameEndMs = 1_000;
/** The agent's time of a start, and the engine's. */
const sameStartMs = 2_000;

function hasEnded(before: Status, after: Status): boolean {
  const laterMs = millis(after.lastExit?.time) - millis(before.lastExit?.time);
  const began = millis(before.startTime);
  const isOfThisLife = began > millis(before.lastExit?.time) && millis(after.lastExit?.time) > began;
  const mayBeSame =
    !isOfThisLife && before.restarts === after.restarts && before.lastExit?.exitCode === after.lastExit?.exitCode;
  return laterMs > (mayBeSame ? sameEndMs : 0);
}

const isLive = ({ state }: Status): boolean =>
  state === "CONTAINER_STATE_RUNNING" || state === "CONTAINER_STATE_PAUSED";

function exitData(exit: Exit | undefined): Happening["data"] {
  if (exit === undefined) return {};
  const { exitCode, outOfMemory, error } = exit;
  const signal = signalOf(exitCode);
  return {
    exitCode,
    outOfMemory,
    reason: describeExit(exit),
    ...(signal === undefined ? {} : { signal }),
    ...(error === "" ? {} : { error }),
  };
}

function held(before: Status, after: Status, wasStarted: boolean): Happening[] {
  if (before.state === after.state) return [];
  if (after.state === "CONTAINER_STATE_PAUSED") return [{ happened: "paused", data: {} }];
  const goesOn = before.state === "CONTAINER_STATE_PAUSED" && after.state === "CONTAINER_STATE_RUNNING";
  return goesOn && !wasStarted ? [{ happened: "resumed", data: {} }] : [];
}

function lost(before: Status, after: Status): Happening[] {
  const isLost = after.state === "CONTAINER_STATE_FAILED" && before.state !== after.state;
  return isLost ? [{ happened: "lost", data: {} }] : [];
}

function healthChange(before: Status, after: Status): Happening[] {
  if (before.health === after.health) return [];
  if (after.health === "CONTAINER_HEALTH_HEALTHY") return [{ happened: "healthy", data: {} }];
  return after.health === "CONTAINER_HEALTH_UNHEALTHY" ? [{ happened: "unhealthy", data: {} }] : [];
}

const millis = (time: Date | undefined): number => time?.getTime() ?? 0;

/** Numbers of signal(7), as Linux has them on every architecture that engines run on. */
const signals: Readonly<Record<number, string>> = {
  1: "SIGHUP",
  2: "SIGINT",
  3: "SIGQUIT",
  4: "SIGILL",
  5: "SIGTRAP",
  6: "SIGABRT",
  7: "SIGBUS",
  8: "SIGFPE",
  9: "SIGKILL",
  10: "SIGUSR1",
  11: "SIGSEGV",
  12: "SIGUSR2",
  13: "SIGPIPE",
  14: "SIGALRM",
  15: "SIGTERM",
};

const signalOf = (exitCode: number): string | undefined => signals[exitCode - 128];
