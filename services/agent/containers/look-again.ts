import { ContainerState } from "#contracts/container/v1/container";
import type { SeenContainer, SeenState } from "../container-engine.ts";
import type { Container } from "./container.ts";
import type { ContainerParts } from "./container-parts.ts";
import { asSeen, gone } from "./status.ts";

const NANOS_IN_MS = 1e6;
/** Times that lie further back than this say that the clock was set. */
const SET_BACK_NANOS = 60_000 * NANOS_IN_MS;

/** Whether what was told of a container before is newer than this. */
export function isOld(container: Container, time: number): boolean {
  return time <= container.eventTime && container.eventTime - time < SET_BACK_NANOS;
}

/** Asks the engine how a container is, and tells what has changed; undefined when the engine does not have it. */
export async function lookAgain(
  parts: Pick<ContainerParts, "engine" | "clock">,
  container: Container,
): Promise<SeenContainer | undefined> {
  const lookedAt = parts.clock.now().getTime() * NANOS_IN_MS;
  const seen = await parts.engine.find(container.uid);
  // Events that came meanwhile know more.
  if (!isOld(container, lookedAt)) {
    const { status, intent } = container;
    container.see(seen === undefined ? gone(status) : asSeen(status, seen, intent), lookedAt);
  }
  return seen;
}

/** Looks again at what is not as the engine's events told it: of a restart that failed, say, it tells nothing. */
export async function lookAtAll(parts: ContainerParts): Promise<void> {
  const inEngine = await parts.engine.list();
  for (const container of parts.containers.list()) {
    const { uid, manifest, isLeaving } = container;
    if (manifest.image === "" || isLeaving || fits(container, inEngine.get(uid))) continue;
    await lookAgain(parts, container);
    parts.restarts.consider(container);
  }
}

function fits({ status: { state }, leaseHold }: Container, seen: SeenState | undefined): boolean {
  switch (seen) {
    case "running":
      // The engine does not know that it is held.
      return state === (leaseHold === undefined ? ContainerState.RUNNING : ContainerState.PAUSED);
    case "paused":
      return state === ContainerState.PAUSED;
    case "restarting":
      return state === ContainerState.RESTARTING;
    case "created":
    case "exited":
      return state === ContainerState.STOPPED || state === ContainerState.EXITED;
    case "dead":
    case undefined:
      return state === ContainerState.FAILED;
  }
}
