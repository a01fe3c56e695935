/** A blob or manifest, and a repository of the project that holds it. */
export interface Holding {
  /** Of kind and digest. */
  readonly content: string;
  readonly repository: string;
}

/** Whether there was room: "uncounted" when nobody knows what the project holds. */
export type Reserved = "held" | "over" | "uncounted";

/**
 * What projects hold, counted from the store and kept up to date: an index that may be lost at any time. Everything
 * fails with OciError UNAVAILABLE when it cannot be reached.
 */
export interface Usage {
  /** Bytes; undefined when they were not counted. */
  total(project: string): Promise<number | undefined>;
  /** True when the project has it, in whatever repository. */
  holds(project: string, content: string): Promise<boolean>;
  /** Counts a holding that is about to come, unless the project would hold more than `limitBytes` then. */
  reserve(project: string, holding: Holding, size: { sizeBytes: number; limitBytes: number }): Promise<Reserved>;
  /** Counts a holding that is there. */
  add(project: string, holding: Holding, sizeBytes: number): Promise<void>;
  remove(project: string, holdings: readonly Holding[]): Promise<void>;
  /** Begins to count a project anew, beside what is known; only one at a time may do so. */
  startCount(project: string): Promise<Count>;
}

/** A count that is under way. */
export interface Count {
  add(holding: Holding, sizeBytes: number): Promise<void>;
  remove(holding: Holding): Promise<void>;
  /** What has come or gone since the last call: look at it again. */
  takeChanged(): Promise<readonly Holding[]>;
  /** Puts the count in the place of what was known; false when something has changed meanwhile. */
  commit(): Promise<boolean>;
}
