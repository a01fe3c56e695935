import type { Clock } from "#libs/clock";
import { failpoint } from "#libs/failpoints";
import type { FreezeGuard } from "../guard-client.ts";
import { type GuestAgentChannel, GuestAgentError } from "../qemu/guest-agent.ts";

export interface FreezeDeps {
  readonly guard: FreezeGuard;
  readonly clock: Clock;
}

export interface FreezeRequest {
  readonly uid: string;
  readonly guest: GuestAgentChannel;
  readonly agentSocket: string;
  readonly windowMs: number;
}

/** What happened between the freeze and the thaw. */
export interface FrozenWindow {
  /** File systems that were frozen, and that were thawed. */
  readonly count: number;
  readonly thawCount: number;
  /** From the sending of the freeze to the answer of the thaw. */
  readonly windowMs: number;
  /** When the freeze was sent. */
  readonly askedAt: Date;
  /** When the guest answered that it is frozen; absent when it did not. */
  readonly frozenAt?: Date;
  /** When the guest answered the thaw, or when we stopped waiting for that. */
  readonly thawedAt: Date;
  /** Why the effect did not take place. */
  readonly refusal?: Refusal;
}

/** A reason of the reference list, and what happened in words. */
export interface Refusal {
  readonly reason: string;
  readonly detail: string;
}

const THAW_MS = 5_000;

/**
 * Freezes the guest's file systems, lets `effect` happen, and thaws, with a guard that thaws when we cannot.
 * Whatever the freeze answered, a thaw follows: a freeze that timed out may still be carried out. A thaw that is
 * not answered in time is handed to `owed` and goes on until the guest answers or is gone.
 */
export async function whileFrozen(
  { guard, clock }: FreezeDeps,
  { uid, guest, agentSocket, windowMs }: FreezeRequest,
  effect: () => Promise<void>,
  owed: (thaw: Promise<void>) => void,
): Promise<FrozenWindow> {
  await guard.arm(uid, agentSocket, windowMs);
  const beginMs = clock.monotonicMs();
  const askedAt = clock.now();
  const frozen = await freeze(guest, windowMs);
  const moments = { askedAt, ...("refusal" in frozen ? {} : { frozenAt: clock.now() }) };
  let refusal = "refusal" in frozen ? frozen.refusal : undefined;
  if (refusal === undefined && clock.monotonicMs() - beginMs < windowMs) refusal = await attempt(effect);
  const thawCount = await thaw(guest);
  const elapsedMs = clock.monotonicMs() - beginMs;
  if (thawCount !== undefined) guard.disarm(uid);
  else owed(thawInTheEnd({ guard, clock }, { uid, guest, agentSocket, windowMs }));
  const { count } = frozen;
  const window = { count, thawCount: thawCount ?? -1, windowMs: elapsedMs, ...moments, thawedAt: clock.now() };
  const judged = refusal ?? judge(window, windowMs);
  return judged === undefined ? window : { ...window, refusal: judged };
}

/** The window for the receipt: "frozen" and "thawed" only where the guest really stood still. Pure. */
export function timelineOf({ askedAt, frozenAt, thawedAt }: Pick<FrozenWindow, "askedAt" | "frozenAt" | "thawedAt">) {
  const moments =
    frozenAt === undefined
      ? { "freeze-asked": askedAt }
      : { "freeze-asked": askedAt, frozen: frozenAt, thawed: thawedAt };
  return Object.entries(moments).map(([event, time]) => ({ event, time: time.toISOString() }));
}

/** What a window that went through is worth. Pure. */
export function judge(window: Pick<FrozenWindow, "count" | "thawCount" | "windowMs">, allowedMs: number) {
  const { count, thawCount, windowMs } = window;
  if (thawCount < 0) return { reason: "agent.unresponsive", detail: "the guest agent did not answer the thaw" };
  if (windowMs > allowedMs) {
    const detail = `the guest was frozen for ${Math.round(windowMs)} ms; ${allowedMs} are allowed`;
    return { reason: "freeze.window_exceeded", detail };
  }
  if (thawCount === count) return undefined;
  const detail = `${count} file systems were frozen and ${thawCount} thawed: some were thawed before`;
  return { reason: "thaw.count_mismatch", detail };
}

async function freeze(guest: GuestAgentChannel, windowMs: number): Promise<{ count: number; refusal?: Refusal }> {
  try {
    const count = await guest.call<number>("guest-fsfreeze-freeze", undefined, windowMs);
    if (count > 0) return { count };
    return { count, refusal: { reason: "freeze.none_frozen", detail: "the guest has no file system to freeze" } };
  } catch (error) {
    return { count: 0, refusal: freezeRefusal(error) };
  }
}

function freezeRefusal(error: unknown): Refusal {
  const detail = error instanceof Error ? error.message : String(error);
  if (!(error instanceof GuestAgentError)) return { reason: "agent.unresponsive", detail };
  return { reason: /hook/i.test(detail) ? "hook.failed" : "freeze.error", detail };
}

async function attempt(effect: () => Promise<void>): Promise<Refusal | undefined> {
  try {
    await failpoint("agent.take-production.frozen");
    await effect();
    await failpoint("agent.take-production.switched");
    return undefined;
  } catch (error) {
    return { reason: "tx.failed", detail: error instanceof Error ? error.message : String(error) };
  }
}

/** -1 when the guest refused, undefined when it did not answer. */
async function thaw(guest: GuestAgentChannel): Promise<number | undefined> {
  try {
    return await guest.call<number>("guest-fsfreeze-thaw", undefined, THAW_MS);
  } catch (error) {
    return error instanceof GuestAgentError ? -1 : undefined;
  }
}

/** The lease is taken anew before each try: the agent does its duty and is not to be killed for a silent guest. */
async function thawInTheEnd({ guard, clock }: FreezeDeps, { uid, guest, agentSocket, windowMs }: FreezeRequest) {
  for (let pauseMs = 100; !guest.isClosed; pauseMs = Math.min(2 * pauseMs, THAW_MS)) {
    await guard.arm(uid, agentSocket, windowMs + THAW_MS);
    if ((await thaw(guest)) !== undefined) break;
    await clock.sleep(pauseMs);
  }
  guard.disarm(uid);
}
