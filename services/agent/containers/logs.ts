import {
  type ContainerLogChunk,
  ContainerState,
  type GetContainerLogsRequest,
} from "#contracts/container/v1/container";
import type { Clock } from "#libs/clock";
import type { ContainerEngine, LogOptions, LogPiece } from "../container-engine.ts";
import type { Container } from "./container.ts";
import type { Containers } from "./containers.ts";

export interface LogsDeps {
  readonly engine: Pick<ContainerEngine, "logs">;
  readonly containers: Containers;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

const AGAIN_MS = 250;
const NANOS_IN_SECOND = 1_000_000_000n;
const NANOS_IN_MS = 1_000_000n;
const NOTHING = Buffer.alloc(0);

/** What a container printed; with follow through all of its lives, until it is deleted or the caller hangs up. */
export async function* containerLogs(
  { engine, containers, clock, signal }: LogsDeps,
  request: GetContainerLogsRequest,
): AsyncGenerator<ContainerLogChunk> {
  const container = containers.get(request.name);
  let options: LogOptions = {
    follow: request.follow,
    tail: request.tail > 0 ? request.tail : undefined,
    since: request.since === undefined ? undefined : BigInt(request.since.getTime()) * NANOS_IN_MS,
    signal,
  };
  for (;;) {
    const { startTime } = container.status;
    for await (const piece of engine.logs(container.uid, options)) {
      options = { ...options, tail: undefined, since: nanosOf(piece.time) + 1n };
      yield chunkOf(piece, request.timestamps);
    }
    // The engine's own following ends with the container's process.
    const goesOn = request.follow && (await startsAgain({ containers, clock, signal }, container, startTime));
    if (!goesOn) return;
    options = { ...options, tail: undefined };
  }
}

/** Waits for its next life; false when there will be none, or the caller hangs up. */
async function startsAgain(
  { containers, clock, signal }: Omit<LogsDeps, "engine">,
  container: Container,
  startTime: Date | undefined,
): Promise<boolean> {
  while (!signal.aborted && containers.find(container.uid) === container) {
    if (container.status.state === ContainerState.FAILED) return false;
    if (container.status.startTime?.getTime() !== startTime?.getTime()) return true;
    await clock.sleep(AGAIN_MS, signal).catch(() => undefined);
  }
  return false;
}

function chunkOf({ stream, bytes, time }: LogPiece, timestamps: boolean): ContainerLogChunk {
  const text = timestamps ? Buffer.concat([Buffer.from(`${time} `), bytes]) : bytes;
  return stream === "stdout" ? { stdout: text, stderr: NOTHING } : { stdout: NOTHING, stderr: text };
}

/** Nanoseconds since 1970 of an RFC 3339 time. */
function nanosOf(time: string): bigint {
  const [, seconds = "", fraction = ""] = /^(.*?)(?:\.(\d+))?Z$/.exec(time) ?? [];
  const whole = BigInt(Math.floor(new Date(`${seconds}Z`).getTime() / 1000));
  return whole * NANOS_IN_SECOND + BigInt(fraction.padEnd(9, "0").slice(0, 9));
}
