import type { Code } from "./code.ts";
import { errorTable, type Reason } from "./error-table.ts";

export interface StillpointErrorOptions extends ErrorOptions {
  /** What to do next, where that differs from the table's advice. */
  readonly help?: string;
  /** Facts for programs: resource names, limits, sizes. Never secrets. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/**
 * An error that people and programs can act on. It crosses gRPC whole: status code from the table, `ErrorInfo`
 * with the reason and metadata, `Help` with what to do next.
 */
export class StillpointError extends Error {
  override readonly name = "StillpointError";
  /** Stable; programs may switch on it. */
  readonly reason: Reason;
  readonly code: Code;
  readonly help: string;
  readonly metadata: Readonly<Record<string, string>>;

  /** `message` says what failed, in one sentence, with the name of the thing. */
  constructor(reason: Reason, message: string, options: StillpointErrorOptions = {}) {
    super(message, options);
    this.reason = reason;
    this.code = errorTable[reason].code;
    this.help = options.help ?? errorTable[reason].help;
    this.metadata = options.metadata ?? {};
  }
}

/** True for a StillpointError with, if given, that reason. */
export function isStillpointError(error: unknown, reason?: Reason): error is StillpointError {
  return error instanceof StillpointError && (reason === undefined || error.reason === reason);
}
