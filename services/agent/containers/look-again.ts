import type { SeenContainer } from "../container-engine.ts";
import type { Container } from "./container.ts";
import type { ContainerParts } from "./container-parts.ts";
import { asSeen, gone } from "./status.ts";

const NANOS_IN_MS = 1e6;

/** Asks the engine how a container is, and tells what has changed; undefined when the engine does not have it. */
export async function lookAgain(parts: ContainerParts, container: Container): Promise<SeenContainer | undefined> {
  const lookedAt = parts.clock.now().getTime() * NANOS_IN_MS;
  const seen = await parts.engine.find(container.uid);
  // Events that came meanwhile know more.
  if (container.eventTime <= lookedAt) {
    const { status, intent } = container;
    container.see(seen === undefined ? gone(status) : asSeen(status, seen, intent), lookedAt);
  }
  return seen;
}
