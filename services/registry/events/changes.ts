import type { Changed } from "../index/image-index.ts";

/** Something that has happened to a repository, which an event tells. */
export interface Change extends Changed {
  readonly action: "pushed" | "deleted" | "collected";
  /** Name of the principal. */
  readonly actor: string;
  readonly mediaType?: string;
  readonly sizeBytes?: number;
}

/** Whoever wants to know of changes. Resolves when it cannot be forgotten any more. */
export type ChangeListener = (change: Change) => Promise<void> | void;

/** Tells all listeners what has happened, before anybody is answered. */
export class Changes {
  readonly #listeners: readonly ChangeListener[];

  constructor(listeners: readonly ChangeListener[]) {
    this.#listeners = listeners;
  }

  async tell(change: Change): Promise<void> {
    await Promise.all(this.#listeners.map(async (listener) => await listener(change)));
  }
}
