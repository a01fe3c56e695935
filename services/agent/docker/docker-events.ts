import type { EngineEvent, SeenHealth } from "../container-engine.ts";
import { UID_LABEL } from "./labels.ts";

interface DockerEvent {
  readonly Action: string;
  readonly Actor: { readonly Attributes: Readonly<Record<string, string>> & { readonly exitCode?: string } };
  readonly timeNano: number;
}

const KINDS = {
  start: "started",
  pause: "paused",
  unpause: "unpaused",
  oom: "outOfMemory",
  destroy: "removed",
} as const satisfies Record<string, EngineEvent["kind"]>;

/** One of Docker's events in our words; undefined for those that mean nothing to us. */
export function eventOf(event: unknown): EngineEvent | undefined {
  const { Action, Actor, timeNano } = event as DockerEvent;
  const uid = Actor.Attributes[UID_LABEL];
  if (uid === undefined) return undefined;
  const common = { uid, time: timeNano };
  if (Action === "die") return { ...common, kind: "ended", exitCode: Number(Actor.Attributes.exitCode) };
  const health = /^health_status: (starting|healthy|unhealthy)$/.exec(Action)?.[1];
  if (health !== undefined) return { ...common, kind: "health", health: health as SeenHealth };
  const kind = KINDS[Action as keyof typeof KINDS];
  return kind === undefined ? undefined : { ...common, kind };
}
