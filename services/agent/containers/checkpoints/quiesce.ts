import type { Clock } from "#libs/clock";
import type { ContainerEngine, ExecSession } from "../../container-engine.ts";
import type { Container } from "../container.ts";

const KEPT_BYTES = 2_000;
const LINE_BYTES = 64 * 1_024;
const READY = /(^|\n)ready\r?\n/;

/** Why a container's application was not at rest. */
export interface Refusal {
  readonly reason: string;
  readonly detail: string;
}

export interface QuiesceFacts {
  /** From its start until it said "ready", and from then until it ended. */
  readonly readyMs: number;
  readonly heldMs: number;
  readonly exitCode: number | null;
}

/** Brings an application to rest: its command has said "ready" and holds until its standard input is closed. */
export class Quiesce {
  readonly #session: ExecSession;
  readonly #clock: Clock;
  readonly #begunAt: number;
  readonly #isReady = Promise.withResolvers<boolean>();
  readonly #ended: Promise<void>;
  #output = "";
  #errors = "";
  #readyAt: number | undefined;

  private constructor(session: ExecSession, clock: Clock) {
    this.#session = session;
    this.#clock = clock;
    this.#begunAt = clock.monotonicMs();
    this.#ended = this.#read().catch(() => undefined);
    void this.#ended.then(() => this.#isReady.resolve(false));
  }

  /** Undefined where the container has no such command; a refusal when it does not get ready in time. */
  static async begin(
    { engine, clock }: { readonly engine: Pick<ContainerEngine, "exec">; readonly clock: Clock },
    container: Container,
    windowMs: number,
  ): Promise<Quiesce | Refusal | undefined> {
    const command = container.definition.spec?.quiesceCommand ?? [];
    if (command.length === 0) return undefined;
    const session = await engine.exec(container.uid, {
      ...{ command, env: {}, user: "", workingDir: "", terminal: undefined, input: true },
    });
    const quiesce = new Quiesce(session, clock);
    const refusal = await quiesce.#getReady(windowMs);
    if (refusal === undefined) return quiesce;
    await session.end();
    return refusal;
  }

  /** To be called after the container goes on: lets it go and tells how it ended. @throws StillpointError never */
  async release(withinMs: number): Promise<QuiesceFacts & { readonly refusal: Refusal | undefined }> {
    const readyMs = Math.round((this.#readyAt ?? this.#begunAt) - this.#begunAt);
    this.#session.closeInput();
    const hasEnded = await this.#within(
      this.#ended.then(() => true),
      withinMs,
    );
    const exitCode = hasEnded === true ? await this.#session.exitCode().catch(() => null) : null;
    await this.#session.end().catch(() => undefined);
    const heldMs = Math.round(this.#clock.monotonicMs() - (this.#readyAt ?? this.#begunAt));
    return { readyMs, heldMs, exitCode, refusal: this.#judge(exitCode) };
  }

  #judge(exitCode: number | null): Refusal | undefined {
    if (exitCode === 0) return undefined;
    const how = exitCode === null ? "did not end when its input was closed" : `ended with ${exitCode}`;
    return { reason: "quiesce.failed", detail: `the quiesce command ${how}${this.#said()}` };
  }

  async #getReady(windowMs: number): Promise<Refusal | undefined> {
    const isReady = await this.#within(this.#isReady.promise, windowMs);
    if (isReady === true) return undefined;
    if (isReady === undefined) {
      return { reason: "quiesce.timeout", detail: `the quiesce command did not say "ready" in ${windowMs} ms` };
    }
    const exitCode = await this.#session.exitCode();
    const detail = `the quiesce command ended with ${exitCode} before it said "ready"${this.#said()}`;
    return { reason: "quiesce.failed", detail };
  }

  /** Reads to the end, so that the command never waits for us. */
  async #read(): Promise<void> {
    for await (const { stream, bytes } of this.#session.output) {
      const text = Buffer.from(bytes).toString("utf8");
      if (stream === "stderr") this.#errors = (this.#errors + text).slice(-KEPT_BYTES);
      else this.#hear(text);
    }
  }

  #hear(text: string): void {
    if (this.#readyAt !== undefined) return;
    this.#output = (this.#output + text).slice(-LINE_BYTES);
    if (!READY.test(this.#output)) return;
    this.#readyAt = this.#clock.monotonicMs();
    this.#isReady.resolve(true);
  }

  #said(): string {
    const words = this.#errors.trim().split("\n").at(-1) ?? "";
    return words === "" ? "" : `: ${words}`;
  }

  async #within<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
    const patience = new AbortController();
    const tooLong = this.#clock.sleep(ms, patience.signal).then(
      () => undefined,
      () => undefined,
    );
    try {
      return await Promise.race([promise, tooLong]);
    } finally {
      patience.abort();
    }
  }
}
