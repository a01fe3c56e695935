/** Where a part of the names begins and how long it is. */
export interface NameRange {
  /** Only names behind this one. */
  readonly after?: string | undefined;
  /** At most so many. */
  readonly limit?: number | undefined;
}

/**
 * Names in the order of their UTF-16 code units, kept in it: a page of a hundred thousand costs as much as one of a
 * hundred, and a new name the move of those behind it.
 */
export class NameOrder {
  readonly #names: string[];

  constructor(names: Iterable<string> = []) {
    this.#names = [...names].sort();
  }

  /** One that is there already stays as it is. */
  add(name: string): void {
    const place = this.#place(name);
    if (this.#names[place] !== name) this.#names.splice(place, 0, name);
  }

  delete(name: string): void {
    const place = this.#place(name);
    if (this.#names[place] === name) this.#names.splice(place, 1);
  }

  /** A copy of the names that begin with `prefix`, in order. */
  startingWith(prefix: string, { after = "", limit = Number.POSITIVE_INFINITY }: NameRange = {}): string[] {
    const first = after < prefix ? this.#place(prefix) : this.#placeBehind(after);
    const end = this.#place(`${prefix}\uffff`);
    return this.#names.slice(first, Math.min(end, first + limit));
  }

  #placeBehind(name: string): number {
    const place = this.#place(name);
    return this.#names[place] === name ? place + 1 : place;
  }

  /** Index of the first name that is not before this one. */
  #place(name: string): number {
    let [low, high] = [0, this.#names.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#names[middle] ?? "") < name) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
