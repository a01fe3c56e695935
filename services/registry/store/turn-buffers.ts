const BUFFER_BYTES = 2 ** 20;
const KEPT_BUFFERS = 16;
/** For whoever comes while all kept buffers are in use. */
const MODEST_BUFFER_BYTES = 2 ** 17;

/**
 * Pairs of buffers that take turns: one is filled while the other is on its way. Some large ones are kept and used
 * again, so that much traffic makes no garbage; there is no limit on how many are in use.
 */
export class TurnBuffers {
  readonly #free: Buffer[] = [];
  #made = 0;

  /** A pair until it goes out of scope. */
  take(): { readonly pair: readonly [Buffer, Buffer] } & Disposable {
    const [first, second] = [this.#take(), this.#take()];
    const give = () => this.#free.push(...[first, second].filter(({ length }) => length === BUFFER_BYTES));
    return { pair: [first, second], [Symbol.dispose]: () => void give() };
  }

  #take(): Buffer {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    if (this.#made >= KEPT_BUFFERS) return Buffer.allocUnsafeSlow(MODEST_BUFFER_BYTES);
    this.#made += 1;
    return Buffer.allocUnsafeSlow(BUFFER_BYTES);
  }
}
