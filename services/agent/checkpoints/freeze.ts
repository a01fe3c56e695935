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

/** A thaw that the guest has not answered in time, which goes on until it does or is gone. */
type OweThaw = (thaw: Promise<void>) => void;

/** Freezes the guest's file systems, lets `effect` happen, and thaws, whatever happened. */
export async function whileFrozen(
  deps: FreezeDeps,
  request: FreezeRequest,
  effect: () => Promise<void>,
  owed: OweThaw,
): Promise<FrozenWindow> {
  const freeze = await Freeze.begin(deps, request, owed);
  const failed = freeze.isHeld ? await attempt("agent.take-production", effect) : undefined;
  const window = await freeze.end();
  return failed === undefined ? window : { ...window, refusal: failed };
}

/**
 * One freeze of a guest, with a guard that thaws when we cannot. Whatever the freeze answered, a thaw has to follow:
 * a freeze that timed out may still be carried out.
 */
export class Freeze {
  /** Why the guest does not stand frozen; its thaw is owed all the same. */
  readonly refusal: Refusal | undefined;
  readonly #deps: FreezeDeps;
  readonly #request: FreezeRequest;
  readonly #owed: OweThaw;
  readonly #beginMs: number;
  readonly #began: Pick<FrozenWindow, "count" | "askedAt" | "frozenAt">;
  #ending: Promise<FrozenWindow> | undefined;

  private constructor(
    deps: FreezeDeps,
    request: FreezeRequest,
    owed: OweThaw,
    begun: { beginMs: number; askedAt: Date; answer: Answer },
  ) {
    const { beginMs, askedAt, answer } = begun;
    this.#deps = deps;
    this.#request = request;
    this.#owed = owed;
    this.#beginMs = beginMs;
    this.refusal = answer.refusal;
    const frozen = answer.refusal === undefined ? { frozenAt: deps.clock.now() } : {};
    this.#began = { count: answer.count, askedAt, ...frozen };
  }

  /** Never without the guard: it knows of the freeze before the guest does. */
  static async begin(deps: FreezeDeps, request: FreezeRequest, owed: OweThaw): Promise<Freeze> {
    const { uid, guest, agentSocket, windowMs } = request;
    await deps.guard.arm(uid, agentSocket, windowMs);
    const beginMs = deps.clock.monotonicMs();
    const askedAt = deps.clock.now();
    const answer = await freeze(guest, windowMs);
    return new Freeze(deps, request, owed, { beginMs, askedAt, answer });
  }

  /** Times of the freeze: what has happened so far. */
  get began(): Pick<FrozenWindow, "count" | "askedAt" | "frozenAt"> {
    return this.#began;
  }

  /** What is left of the window, in ms. */
  get leftMs(): number {
    return Math.max(0, this.#request.windowMs - (this.#deps.clock.monotonicMs() - this.#beginMs));
  }

  /** Whether the guest stands frozen by us; false as soon as the window has passed or its thaw was begun. */
  get isHeld(): boolean {
    return this.refusal === undefined && this.#ending === undefined && this.leftMs > 0;
  }

  /** Thaws, once; whoever asks again gets the same answer. */
  end(): Promise<FrozenWindow> {
    this.#ending ??= this.#end();
    return this.#ending;
  }

  async #end(): Promise<FrozenWindow> {
    const { guard, clock } = this.#deps;
    const { uid, guest, windowMs: allowedMs } = this.#request;
    const answer = await thaw(guest);
    const windowMs = clock.monotonicMs() - this.#beginMs;
    if (answer !== undefined) guard.disarm(uid);
    else this.#owed(thawInTheEnd(this.#deps, this.#request));
    const window = { ...this.#began, thawCount: answer?.count ?? -1, windowMs, thawedAt: clock.now() };
    const refusal = this.refusal ?? answer?.refusal ?? judge(window, allowedMs);
    return refusal === undefined ? window : { ...window, refusal };
  }
}

/** The window for the receipt: "frozen" and "thawed" only where the guest really stood still. Pure. */
export function timelineOf({ askedAt, frozenAt, thawedAt }: Moments) {
  const moments = {
    "freeze-asked": askedAt,
    ...(frozenAt !== undefined && { frozen: frozenAt, ...(thawedAt !== undefined && { thawed: thawedAt }) }),
  };
  return Object.entries(moments).map(([event, time]) => ({ event, time: time.toISOString() }));
}

interface Moments extends Pick<FrozenWindow, "askedAt" | "frozenAt"> {
  /** Undefined while the guest stands frozen. */
  readonly thawedAt: Date | undefined;
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

/** To a freeze or a thaw. */
interface Answer {
  readonly count: number;
  readonly refusal?: Refusal;
}

async function freeze(guest: GuestAgentChannel, windowMs: number): Promise<Answer> {
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

/** Lets something happen to a frozen guest's disks. @param action the failpoints' own */
export async function attempt(action: string, effect: () => Promise<void>): Promise<Refusal | undefined> {
  try {
    await failpoint(`${action}.frozen`);
    await effect();
    await failpoint(`${action}.switched`);
    return undefined;
  } catch (error) {
    return { reason: "tx.failed", detail: error instanceof Error ? error.message : String(error) };
  }
}

/** Undefined when the guest may still be frozen: it did not answer, or says that it is. */
async function thaw(guest: GuestAgentChannel): Promise<Answer | undefined> {
  try {
    return { count: await guest.call<number>("guest-fsfreeze-thaw", undefined, THAW_MS) };
  } catch (error) {
    if (!(error instanceof GuestAgentError) || (await mayBeFrozen(guest))) return undefined;
    // The file systems are thawed first, the hook is called after that (qga/commands-posix.c).
    const reason = /hook/i.test(error.message) ? "hook.failed" : "thaw.error";
    return { count: -1, refusal: { reason, detail: error.message } };
  }
}

async function mayBeFrozen(guest: GuestAgentChannel): Promise<boolean> {
  const status = await guest.call<string>("guest-fsfreeze-status", undefined, THAW_MS).catch(() => "frozen");
  return status !== "thawed";
}

/**
 * The lease is taken anew before each try: the agent does its duty and is not to be killed for a silent guest. Without
 * a guard it thaws all the same.
 */
async function thawInTheEnd({ guard, clock }: FreezeDeps, { uid, guest, agentSocket, windowMs }: FreezeRequest) {
  for (let pauseMs = 100; !guest.isClosed; pauseMs = Math.min(2 * pauseMs, THAW_MS)) {
    await guard.arm(uid, agentSocket, windowMs + THAW_MS).catch(() => undefined);
    // The guest answers in turn: one that says it is thawed has done what was sent before. No hook is called again.
    if (!(await mayBeFrozen(guest)) || (await thaw(guest)) !== undefined) break;
    await clock.sleep(pauseMs);
  }
  guard.disarm(uid);
}
