import type { Stage } from "./stage.ts";

/** A job under fault: what is done, what must be true afterwards whatever was killed, and how the stage is cleared. */
export interface Scenario {
  readonly prepare?: (stage: Stage) => Promise<void>;
  /** Gives the name of what it made, or did it to. */
  readonly act: (stage: Stage) => Promise<string>;
  readonly verify: (stage: Stage, name: string) => Promise<void>;
  readonly cleanUp?: (stage: Stage, name: string) => Promise<void>;
}
