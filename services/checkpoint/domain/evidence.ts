import { type Cause, quiesceAbsent } from "./policy.ts";
import type { Consistency, JsonObject } from "./receipt.ts";

export type Judgement =
  | {
      readonly proven: true;
      readonly consistency: Extract<Consistency, "application" | "filesystem">;
      /** What keeps it from being more. */
      readonly cause?: Cause;
    }
  | { readonly proven: false; readonly cause: Cause };

/**
 * Evidence is what the agent gathered, as plain JSON:
 *   freeze: {count, thawCount, windowMs, writers: [{name, state, ms}]}, with the states of deploy/guest/README.md:
 *     "failed" is a writer that did not confirm, "absent" one whose application does not run;
 *   timeline: [{event, time}], with events "frozen" and "thawed" among them and RFC 3339 times;
 *   disks: [{id, included, bytes, ...}]; ram: {bytes, ...}; pauseMs; verification; machine.
 *
 * Whether the evidence of a production attempt carries the claim. File systems frozen and thawed must be equally
 * many and at least one; writers, where there are any, must all have confirmed, which makes it application-consistent.
 */
export function judgeFreeze(evidence: JsonObject): Judgement {
  if (isObject(evidence.pause)) return judgePause(evidence.pause);
  const freeze = objectOf(evidence.freeze);
  const count = numberOf(freeze.count);
  const thawCount = numberOf(freeze.thawCount);
  if (count === 0) return unproven("freeze.none_frozen", "no file system was frozen");
  if (count !== thawCount) {
    return unproven("thaw.count_mismatch", `${count} file systems were frozen, ${thawCount} thawed`);
  }
  const writers = Array.isArray(freeze.writers) ? freeze.writers.map(objectOf) : [];
  const failed = writers.find(({ state }) => state === "failed");
  if (failed !== undefined) return unproven("hook.failed", `writer ${String(failed.name)} failed`);
  const present = writers.filter(({ state }) => state !== "absent");
  return { proven: true, consistency: present.length > 0 ? "application" : "filesystem" };
}

/**
 * Of a container: all its processes stood still, and nothing that they had written is lost; with a quiesce command its
 * application was at rest besides, which it said before the pause and held until after it.
 */
function judgePause(pause: JsonObject): Judgement {
  if (!isObject(pause.quiesce)) return { proven: true, consistency: "filesystem", cause: quiesceAbsent };
  return pause.quiesce.exitCode === 0
    ? { proven: true, consistency: "application" }
    : unproven("quiesce.failed", "the quiesce command did not end well");
}

/** What a checkpoint did to a guest, or to a container, with the time at which it happened there (RFC 3339). */
export function momentsOf(evidence: JsonObject): { readonly happened: string; readonly time: string }[] {
  const timeline = Array.isArray(evidence.timeline) ? evidence.timeline.map(objectOf) : [];
  return ["frozen", "thawed", "paused", "unpaused"].flatMap((happened) => {
    const time = timeline.find(({ event }) => event === happened)?.time;
    return typeof time === "string" ? [{ happened, time }] : [];
  });
}

const unproven = (code: string, detail: string): Judgement => ({ proven: false, cause: { code, detail } });

const numberOf = (value: unknown): number => (typeof value === "number" ? value : 0);

const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const objectOf = (value: unknown): JsonObject => (isObject(value) ? value : {});
