import { StillpointError, type StillpointErrorOptions } from "#libs/errors";

/** The command line asks for something that makes no sense; nothing was asked of a server. */
export class UsageError extends StillpointError {
  constructor(message: string, options: StillpointErrorOptions) {
    super("ARGUMENT_INVALID", message, options);
  }
}
