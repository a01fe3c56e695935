type Close = () => Promise<void> | void;

/** What a process started, in order; closed in reverse order, each part once, every part even if another fails. */
export class Lifecycle {
  readonly #parts: { name: string; close: Close }[] = [];
  readonly #abort = new AbortController();
  #closing: Promise<void> | undefined;

  /** Aborted when closing starts: loops end by it. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /**
   * Remembers how to close a part that has started, and gives the part back. Once closing has begun the part is
   * closed too, and this throws the signal's reason, so that a start that is still under way ends.
   */
  add<Part>(name: string, part: Part, close: (part: Part) => Promise<void> | void): Part {
    this.#parts.push({ name, close: () => close(part) });
    if (this.#closing !== undefined) {
      this.#closing = Promise.all([this.#closing, this.#closeAll()]).then(() => undefined);
      this.#closing.catch(() => undefined);
      this.signal.throwIfAborted();
    }
    return part;
  }

  /** Closes everything; a second call waits for the first. Fails with an AggregateError of the parts that did not close. */
  close(): Promise<void> {
    this.#abort.abort(new DOMException("the process is stopping", "AbortError"));
    this.#closing ??= this.#closeAll();
    return this.#closing;
  }

  async #closeAll(): Promise<void> {
    const failures: Error[] = [];
    for (let part = this.#parts.pop(); part !== undefined; part = this.#parts.pop()) {
      try {
        await part.close();
      } catch (cause) {
        failures.push(new Error(`closing ${part.name} failed`, { cause }));
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, "shutdown was not clean");
  }
}
