import { StillpointError } from "#libs/errors";

/** The error as people read it: they know a container by its name, the engine by its uid. */
export function inItsName(error: unknown, uid: string, name: string): unknown {
  if (!(error instanceof StillpointError) || !error.message.includes(uid)) return error;
  const { reason, message, help, metadata } = error;
  return new StillpointError(reason, message.replaceAll(uid, name), { cause: error, help, metadata });
}
