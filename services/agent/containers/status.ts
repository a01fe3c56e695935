import {
  type ContainerExit,
  ContainerHealth,
  ContainerState,
  type RestartPolicy,
  RestartPolicy_Mode,
} from "#contracts/container/v1/container";
import type { ContainerStatus } from "#contracts/host/v1/agent";
import type { EngineEvent, SeenContainer, SeenHealth } from "../container-engine.ts";

/** What decides over a container's life beside what happens to it. */
export interface Intent {
  /** It was stopped or killed by its owner. */
  readonly isStopped: boolean;
  readonly restart: RestartPolicy;
  readonly hasHealthCheck: boolean;
  /** Its restart policy is this agent's to follow, not the engine's: it counts, and knows what is about to be started. */
  readonly isRestartedHere: boolean;
}

export const NEVER_STARTED: ContainerStatus = {
  state: ContainerState.STOPPED,
  lastExit: undefined,
  restarts: 0,
  health: ContainerHealth.UNSPECIFIED,
  startTime: undefined,
};

const { RUNNING, RESTARTING } = ContainerState;
const NANOS_IN_MS = 1e6;
/** Times of one thing, told by an event and by a look at the container, are this near to each other. */
const NEAR_MS = 2_000;

/** A container that is started by its owner. */
export function started(status: ContainerStatus, time: Date, { hasHealthCheck }: Intent): ContainerStatus {
  return { ...status, state: RUNNING, restarts: 0, health: firstHealth(hasHealthCheck), startTime: time };
}

/** What a container is after an event. @param ranOut the kernel has ended a process of it for want of memory */
export function afterEvent(
  status: ContainerStatus,
  event: EngineEvent,
  intent: Intent,
  ranOut: boolean,
): ContainerStatus {
  const time = new Date(event.time / NANOS_IN_MS);
  switch (event.kind) {
    case "started":
      if (status.state === RUNNING) return { ...status, startTime: time };
      return {
        ...started(status, time, intent),
        restarts: status.state === RESTARTING ? status.restarts + 1 : 0,
      };
    case "ended": {
      const lastExit = { exitCode: event.exitCode, outOfMemory: ranOut && event.exitCode !== 0, error: "", time };
      return ended(status, lastExit, intent);
    }
    case "paused":
      return { ...status, state: ContainerState.PAUSED };
    case "unpaused":
      return { ...status, state: RUNNING };
    case "health":
      return { ...status, health: healthOf(event.health) };
    case "removed":
    case "outOfMemory":
      return status;
  }
}

/** What a look at a container says that nobody told of. */
export function asSeen(status: ContainerStatus, seen: SeenContainer, intent: Intent): ContainerStatus {
  const restarts = intent.isRestartedHere ? status.restarts : seen.restarts;
  const now = { ...status, restarts, startTime: nearOr(status.startTime, seen.startTime) };
  switch (seen.state) {
    case "created":
      return { ...now, state: ContainerState.STOPPED };
    case "running":
    case "paused":
      return {
        ...now,
        state: seen.state === "running" ? RUNNING : ContainerState.PAUSED,
        health: seen.health === undefined ? ContainerHealth.UNSPECIFIED : healthOf(seen.health),
      };
    case "restarting":
      return { ...ended(now, exitOf(status, seen), intent), state: RESTARTING };
    case "exited":
      if (intent.isRestartedHere) return ended(now, exitOf(status, seen), intent);
      return {
        ...ended(now, exitOf(status, seen), intent),
        state: intent.isStopped ? ContainerState.STOPPED : ContainerState.EXITED,
      };
    case "dead":
      return { ...now, state: ContainerState.FAILED };
  }
}

/** The engine does not have it any more, and nobody asked for that. */
export function gone(status: ContainerStatus): ContainerStatus {
  return { ...status, state: ContainerState.FAILED };
}

/** Why a container is as it is, for people; empty when it is as it was asked to be. */
export function reasonOf({ state, lastExit, restarts, health }: ContainerStatus): string {
  if (state === ContainerState.EXITED) return exitReason(lastExit);
  if (state === ContainerState.RESTARTING) return `${exitReason(lastExit)}; its restart policy starts it again`;
  if (state === ContainerState.FAILED) return "the container engine has lost it";
  if (state !== ContainerState.RUNNING) return "";
  if (health === ContainerHealth.UNHEALTHY) return "its health check fails";
  return restarts > 0 ? `restarted by its policy (${restarts}): ${exitReason(lastExit)}` : "";
}

/** Whether people or services would want to hear of the change. */
export function differs(a: ContainerStatus, b: ContainerStatus): boolean {
  const isSameExit = a.lastExit?.exitCode === b.lastExit?.exitCode && isNear(a.lastExit?.time, b.lastExit?.time);
  const isSameLife = a.restarts === b.restarts && isNear(a.startTime, b.startTime);
  return !(a.state === b.state && a.health === b.health && isSameLife && isSameExit);
}

/** Whether all that has happened is that its owner has started it. */
export function isStart(before: ContainerStatus, now: ContainerStatus): boolean {
  const wasOff = before.state === ContainerState.STOPPED || before.state === ContainerState.EXITED;
  return wasOff && now.state === RUNNING && now.restarts === 0 && now.lastExit === before.lastExit;
}

function exitReason(exit: ContainerExit | undefined): string {
  if (exit === undefined) return "ended";
  if (exit.outOfMemory) return "killed: out of memory";
  const words = exit.exitCode > 128 ? `ended by signal ${exit.exitCode - 128}` : `exited with ${exit.exitCode}`;
  return exit.error === "" ? words : `${words}: ${exit.error}`;
}

function ended(status: ContainerStatus, lastExit: ContainerExit, intent: Intent): ContainerStatus {
  return {
    ...status,
    state: stateAfterEnd(status, lastExit, intent),
    lastExit,
    health: ContainerHealth.UNSPECIFIED,
  };
}

function stateAfterEnd({ restarts }: ContainerStatus, { exitCode }: ContainerExit, intent: Intent): ContainerState {
  const { mode, maxRetries } = intent.restart;
  if (intent.isStopped) return ContainerState.STOPPED;
  const isRetried =
    mode === RestartPolicy_Mode.ON_FAILURE && exitCode !== 0 && (maxRetries === 0 || restarts < maxRetries);
  return mode === RestartPolicy_Mode.ALWAYS || isRetried ? RESTARTING : ContainerState.EXITED;
}

function exitOf({ lastExit }: ContainerStatus, seen: SeenContainer): ContainerExit {
  const { exitCode, outOfMemory, error, endTime: time } = seen;
  return isNear(lastExit?.time, time) && lastExit !== undefined ? lastExit : { exitCode, outOfMemory, error, time };
}

function firstHealth(hasHealthCheck: boolean): ContainerHealth {
  return hasHealthCheck ? ContainerHealth.STARTING : ContainerHealth.UNSPECIFIED;
}

function healthOf(health: SeenHealth): ContainerHealth {
  if (health === "healthy") return ContainerHealth.HEALTHY;
  return health === "unhealthy" ? ContainerHealth.UNHEALTHY : ContainerHealth.STARTING;
}

function nearOr(told: Date | undefined, seen: Date | undefined): Date | undefined {
  return isNear(told, seen) ? told : seen;
}

function isNear(a: Date | undefined, b: Date | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return Math.abs(a.getTime() - b.getTime()) < NEAR_MS;
}
